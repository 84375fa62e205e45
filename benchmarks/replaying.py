"""Sending on a schedule: how well it is kept, and what keeping it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.arrivals import arrival_times
from benchmarks.report import Result, in_turn, median, percentile, print_table, spread
from benchmarks.run import Report, Settings, child_command, report_of
from benchmarks.savefiles import write_schedule
from benchmarks.tcpreplay import is_installed, tcpreplay
from benchmarks.wire import wire

__all__ = ["run"]

_WAYS = {
    "exact-asyncio": "aiopcap exact, asyncio",
    "exact-trio": "aiopcap exact, trio",
    "gentle-asyncio": "aiopcap gentle, asyncio",
    "gtod": "tcpreplay --timer=gtod",
    "nano": "tcpreplay --timer=nano",
}
_MEAN_GAP_US = 100
_COLUMNS = {
    "schedule_p50": "schedule µs p50",
    "schedule_p99": "p99",
    "end": "at the end",
    "gap_p50": "gap µs p50",
    "gap_p99": "p99",
}
_BOUNDS_US = {
    "schedule_p99": ("error against the schedule, p99", 30.0),
    "end": ("error at the end", 30.0),
    "gap_p50": ("error of a gap, p50", 1.0),
    "gap_p99": ("error of a gap, p99", 25.0),
}
_GENTLE_CORES = 0.5


def run(settings: Settings) -> list[Result]:
    """Send three seconds of packets in turn, and have them timed at the far end."""
    packets = 10_000 if settings.quick else 30_000
    rounds = settings.rounds(3)
    path = settings.folder / "schedule.pcap"
    due_us = write_schedule(path, packets, _MEAN_GAP_US)
    reports: dict[str, list[Report]] = {way: [] for way in _WAYS}
    ways = list(_WAYS) if is_installed() else [way for way in _WAYS if "-" in way]
    with wire() as link:
        for way in in_turn(ways, rounds):
            # It is so slow, and so far from any schedule, that once says everything.
            if way == "nano" and reports[way]:
                continue
            send = _sender(way, link.device, path)
            report, came_ns = arrival_times(link, packets, settings.folder / "came.pcap", send)
            reports[way].append({**report, **_errors_us(due_us, came_ns)})
    path.unlink()
    return _conclude({way: reports[way] for way in ways}, packets)


def _sender(way: str, device: str, path: Path) -> Callable[[], Report]:
    timing, _, backend = way.partition("-")
    if not backend:
        return partial(tcpreplay, device, path, f"--timer={timing}")
    argv = child_command("transmit_savefile", backend, device, path, timing)
    return partial(report_of, argv)


def _errors_us(due_us: Sequence[int], came_ns: Sequence[int]) -> Report:
    came = [(time - came_ns[0]) / 1e3 for time in came_ns]
    late = [when - due for when, due in zip(came, due_us, strict=True)]
    schedule = [abs(error) for error in late]
    gaps = [abs(after - before) for before, after in pairwise(late)]
    return {
        "schedule_p50": percentile(schedule, 50),
        "schedule_p99": percentile(schedule, 99),
        "end": late[-1],
        "gap_p50": percentile(gaps, 50),
        "gap_p99": percentile(gaps, 99),
    }


def _cores(report: Report) -> float:
    return report["cpu"] / report["seconds"]


def _conclude(reports: dict[str, list[Report]], packets: int) -> list[Result]:
    print_table(
        f"sending on a schedule: {packets} packets, exponential gaps of {_MEAN_GAP_US} µs",
        ["sender", "rounds", *_COLUMNS.values(), "cores"],
        [
            [
                _WAYS[way],
                str(len(runs)),
                *(spread((r[column] for r in runs), "{:.1f}".format) for column in _COLUMNS),
                spread(map(_cores, runs), "{:.2f}".format),
            ]
            for way, runs in reports.items()
        ],
    )
    results = [
        Result(
            "schedule",
            f"{what}, {_WAYS[way]}",
            median(abs(report[column]) for report in reports[way]),
            "µs",
            bound,
        )
        for way in ("exact-asyncio", "exact-trio")
        for column, (what, bound) in _BOUNDS_US.items()
    ]
    gentle = median(map(_cores, reports["gentle-asyncio"]))
    what = f"processor time, {_WAYS['gentle-asyncio']}"
    return [*results, Result("schedule", what, gentle, "cores", _GENTLE_CORES)]
