"""Copying a savefile packet by packet, beside ``tcpdump -r SOURCE -w TARGET``."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.report import Result, paired_ratio, print_table, spread
from benchmarks.run import Settings, child_command, report_of
from benchmarks.savefiles import IMIX, warm, write_savefile

__all__ = ["run"]

_BOUND = 1.0
_TCPDUMP = "tcpdump -r -w"


def _tcpdump(source: Path, target: Path) -> float:
    path = shutil.which("tcpdump") or "/usr/sbin/tcpdump"
    # Started by root it becomes another user, who may not write into the folder.
    keep_user = ["-Z", "root"] if os.geteuid() == 0 else []
    wall = time.perf_counter()
    subprocess.run(
        [path, *keep_user, "-r", str(source), "-w", str(target)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - wall


def run(settings: Settings) -> list[Result]:
    """Copy the mixed file in turn with tcpdump, to the page cache."""
    source, target = settings.folder / "source.pcap", settings.folder / "target.pcap"
    packets = write_savefile(source, IMIX, packets=1_000_000)
    warm(source)
    rounds = settings.rounds(9)
    inside: dict[str, list[float]] = {"asyncio": [], "trio": []}
    whole: dict[str, list[float]] = {"asyncio": [], "trio": [], _TCPDUMP: []}
    try:
        for _ in range(rounds):
            target.unlink(missing_ok=True)
            whole[_TCPDUMP].append(_tcpdump(source, target))
            for backend, seconds in inside.items():
                target.unlink(missing_ok=True)
                wall = time.perf_counter()
                report = report_of(child_command("copy_savefile", backend, source, target))
                whole[backend].append(time.perf_counter() - wall)
                seconds.append(report["seconds"])
                # Both write the same records behind headers of the same length.
                if report["packets"] != packets or target.stat().st_size != source.stat().st_size:
                    raise RuntimeError(f"the copy is not complete: {report}")
        size = source.stat().st_size
    finally:
        source.unlink()
        target.unlink(missing_ok=True)

    times = {f"aiopcap send_batch(), {backend}": values for backend, values in inside.items()}
    for backend in inside:
        times[f"… with the start of Python, {backend}"] = whole[backend]
    times[_TCPDUMP] = whole[_TCPDUMP]
    print_table(
        f"copying a savefile, imix: {packets} packets, {size / 1e6:.0f} MB, {rounds} rounds",
        ["program", "seconds", "× tcpdump"],
        [
            [
                name,
                spread(values, lambda value: f"{value:.3f}"),
                f"{paired_ratio(values, whole[_TCPDUMP]):.2f}",
            ]
            for name, values in times.items()
        ],
    )
    return [
        Result(
            "copy, imix",
            f"time, {backend} / tcpdump",
            paired_ratio(values, whole[_TCPDUMP]),
            "×",
            _BOUND,
        )
        for backend, values in inside.items()
    ]
