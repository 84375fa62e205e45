"""How late another task of the same event loop runs beside capturing or sending at full speed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.flood import hosts
from benchmarks.report import Result, median, print_table, spread
from benchmarks.run import Report, Settings, child_command, report_of
from benchmarks.savefiles import IMIX, warm, write_savefile, write_schedule
from benchmarks.wire import Wire

__all__ = ["run", "while_dumping", "while_sending"]

_BACKENDS = ("asyncio", "trio")
_P99_BOUND_MS = 5.0
_GIB = 1 << 30
_MIB = 1 << 20
# The dumper's own buffers of 2 MiB, what its thread needs, and what the allocator keeps.
_DUMPER_BOUND_MIB = 4.0
_NAMES = {
    "nothing": "nothing (the machine's own noise)",
    "file-each": "savefile, async for",
    "file-batches": "savefile, batches()",
    "live-each": "flood, async for",
    "live-batches": "flood, batches()",
    "dump-each-wait": "slow disk, send one by one",
    "dump-batches-wait": "slow disk, send_batch",
    "dump-batches-drop": "slow disk, send_batch, dropping",
    "topspeed": "transmit at top speed",
    "sync": "transmit on a schedule",
    "each": "send one by one",
    "batches": "send_batch of 256",
}

Key = tuple[str, str]  # what goes on beside the ticks; backend


def run(settings: Settings) -> list[Result]:
    """Measure during a flood, while a 1 GB savefile is read, and with nothing else to do."""
    seconds = 2.0 if settings.quick else 5.0
    rounds = settings.rounds(5)
    reports: dict[Key, list[Report]] = {}

    def note(reader: str, backend: str, report: Report) -> None:
        reports.setdefault((reader, backend), []).append(report)

    def tick(reader: str, backend: str, *arguments: object) -> None:
        command = child_command("tick", backend, reader, *arguments, seconds)
        note(reader, backend, report_of(command))

    path = settings.folder / "large.pcap"
    write_savefile(path, IMIX, nbytes=_GIB // (4 if settings.quick else 1))
    warm(path)
    try:
        for _ in range(rounds):
            for backend in _BACKENDS:
                tick("nothing", backend)
                for reader in ("file-each", "file-batches"):
                    tick(reader, backend, path)
    finally:
        path.unlink()
    count = int(500_000 * seconds)
    with hosts(settings.folder) as link:
        for _ in range(rounds):
            for backend in _BACKENDS:
                for reader in ("live-each", "live-batches"):
                    command = child_command("tick", backend, reader, link.device, count)
                    flood = link.flood(command, count, "small")
                    note(reader, backend, {**flood.receiver, "lost": flood.lost})
    return _conclude(reports, rounds)


def while_sending(link: Wire, path: Path, settings: Settings) -> list[Result]:
    """Measure during all ways to send; ``path`` is the file that is sent at top speed."""
    rounds = settings.rounds(3)
    schedule = settings.folder / "schedule.pcap"
    write_schedule(schedule, 30_000, 100)
    lengths = {"topspeed": 3.0, "sync": 3.0, "each": 1.5, "batches": 1.5}
    reports: dict[Key, list[Report]] = {}
    for _ in range(rounds):
        for backend in _BACKENDS:
            for way, length in lengths.items():
                seconds = 1.0 if settings.quick else length
                file = schedule if way == "sync" else path
                command = child_command("tick_sending", backend, way, link.device, file, seconds)
                report = link.send(partial(report_of, command))
                reports.setdefault((way, backend), []).append(report)
    return _conclude(reports, rounds)


def while_dumping(settings: Settings) -> list[Result]:
    """Measure beside a dumper on a slow disk, and the memory that it takes."""
    seconds = 2.0 if settings.quick else 5.0
    rounds = settings.rounds(3)
    path = settings.folder / "frames.pcap"
    write_savefile(path, IMIX, packets=2000)
    reports: dict[Key, list[Report]] = {}
    for _ in range(rounds):
        for backend in _BACKENDS:
            for way in ("each-wait", "batches-wait", "batches-drop"):
                argv = child_command("tick_dumping", backend, *way.split("-"), path, seconds)
                reports.setdefault((f"dump-{way}", backend), []).append(report_of(argv))
    path.unlink()
    results = _conclude(reports, rounds)
    for (way, backend), runs in reports.items():
        growth = median(report["growth"] for report in runs) / _MIB
        what = f"memory, {_NAMES[way]}, {backend}"
        results.append(Result("slow disk", what, growth, "MiB", _DUMPER_BOUND_MIB))
    return results


def _conclude(reports: dict[Key, list[Report]], rounds: int) -> list[Result]:
    columns = ("p50", "p99", "max")
    print_table(
        f"lag of a task that ticks every 10 ms, {rounds} rounds",
        ["beside", "backend", "lost", "ticks", *(f"{column} ms" for column in columns)],
        [
            [
                _NAMES[reader],
                backend,
                str(sum(int(report.get("lost", 0)) for report in runs)),
                str(sum(int(report["ticks"]) for report in runs)),
                *(spread((r[c] for r in runs), lambda t: f"{t * 1e3:.2f}") for c in columns),
            ]
            for (reader, backend), runs in reports.items()
        ],
    )
    return [
        Result(
            "ticker lag",
            f"p99, {_NAMES[reader]}, {backend}",
            median(report["p99"] for report in runs) * 1e3,
            "ms",
            _P99_BOUND_MS,
        )
        for (reader, backend), runs in reports.items()
        if reader != "nothing"
    ]
