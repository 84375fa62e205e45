"""Memory while a large savefile is read: it must not depend on the size of the file."""

from __future__ import annotations

from benchmarks.report import Result, print_table
from benchmarks.run import Settings, child_command, report_of
from benchmarks.savefiles import IMIX, write_savefile

__all__ = ["run"]

_BOUND_MIB = 64
_MIB = 1 << 20
_GIB = 1 << 30
_WAYS = {"each": "async for", "batches": "batches()"}


def run(settings: Settings) -> list[Result]:
    """Read a 2 GB savefile in both ways."""
    path = settings.folder / "huge.pcap"
    packets = write_savefile(path, IMIX, nbytes=_GIB // 4 if settings.quick else 2 * _GIB)
    rows = []
    results = []
    try:
        size = path.stat().st_size
        for way, name in _WAYS.items():
            for backend in ("asyncio", "trio"):
                report = report_of(child_command("watch_memory", backend, way, path))
                if report["packets"] != packets:
                    raise RuntimeError(f"read {report['packets']} of {packets} packets")
                growth = report["growth"] / _MIB
                rows.append([f"aiopcap {name}, {backend}", f"{growth:.1f}"])
                results.append(
                    Result("memory", f"growth, {name}, {backend}", growth, "MiB", _BOUND_MIB)
                )
    finally:
        path.unlink()
    print_table(
        f"peak of resident memory above the start, savefile of {size / 1e9:.2f} GB",
        ["reader", "MiB"],
        rows,
    )
    return results
