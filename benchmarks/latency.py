"""Delivery latency: one packet every 4 ms, from the moment before it was sent."""

from __future__ import annotations

from benchmarks.flood import hosts
from benchmarks.report import Result, in_turn, median, print_table, spread
from benchmarks.run import Report, Settings, child_command

__all__ = ["run"]

_WAYS = {
    "each-asyncio": "aiopcap async for, asyncio",
    "each-trio": "aiopcap async for, trio",
    "cypcap-blocking": "cypcap for, blocking",
}
_GAP_US = 4000
_P99_BOUND_MS = 2.0


def run(settings: Settings) -> list[Result]:
    """Measure with default options."""
    count = 250 if settings.quick else 1000
    rounds = settings.rounds(5)
    reports: dict[str, list[Report]] = {way: [] for way in _WAYS}
    with hosts(settings.folder) as link:
        for way in in_turn(_WAYS, rounds):
            command = child_command("receive_stamped", way, link.device, count)
            flood = link.flood(command, count, "small", gap_us=_GAP_US)
            reports[way].append(flood.receiver)
    columns = ("p50", "p99", "max")
    print_table(
        f"delivery latency: {count} packets, one every {_GAP_US / 1000:g} ms, {rounds} rounds",
        ["receiver", *(f"{column} ms" for column in columns)],
        [
            [
                name,
                *(
                    spread((r[c] for r in reports[way]), lambda t: f"{t * 1e3:.2f}")
                    for c in columns
                ),
            ]
            for way, name in _WAYS.items()
        ],
    )
    return [
        Result(
            "latency",
            f"p99, {_WAYS[way]}",
            median(report["p99"] for report in reports[way]) * 1e3,
            "ms",
            _P99_BOUND_MS,
        )
        for way in ("each-asyncio", "each-trio")
    ]
