"""Capturing a flood: what is lost, and what each packet costs the receiver."""

from __future__ import annotations

from benchmarks.flood import Hosts, hosts
from benchmarks.report import Result, in_turn, paired_ratio, print_table, spread
from benchmarks.run import Report, Settings, child_command

__all__ = ["run"]

_WAYS = {
    "each-asyncio": "aiopcap async for, asyncio",
    "each-trio": "aiopcap async for, trio",
    "batches-asyncio": "aiopcap batches(), asyncio",
    "batches-trio": "aiopcap batches(), trio",
    "cypcap-polling": "cypcap for, not blocking, with poll",
    "cypcap-blocking": "cypcap for, blocking",
    "pcapy-ng": "pcapy-ng dispatch(callback)",
}
_EACH_BOUND = 1.3
_BATCHES_BOUND = 1.0


def run(settings: Settings) -> list[Result]:
    """Flood all receivers in turn, with small packets and with a mix of lengths."""
    results = []
    with hosts(settings.folder) as link:
        for kind, packets in (("small", 400_000), ("imix", 200_000)):
            count = packets // (4 if settings.quick else 1)
            results += _flood(link, kind, count, settings.rounds(7))
    return results


def _cpu(report: Report) -> float:
    return (report["user"] + report["system"]) / max(1, report["packets"])


def _flood(link: Hosts, kind: str, count: int, rounds: int) -> list[Result]:
    reports: dict[str, list[Report]] = {way: [] for way in _WAYS}
    lost: dict[str, list[int]] = {way: [] for way in _WAYS}
    counted: dict[str, list[int]] = {way: [] for way in _WAYS}
    rates: dict[str, list[float]] = {way: [] for way in _WAYS}
    for way in in_turn(_WAYS, rounds):
        command = child_command("receive_live", way, link.device, count)
        flood = link.flood(command, count, kind)
        reports[way].append(flood.receiver)
        lost[way].append(flood.lost)
        counted[way].append(int(flood.receiver["dropped"]))
        rates[way].append(count / flood.sender["seconds"])

    costs = {way: [_cpu(report) for report in runs] for way, runs in reports.items()}
    # The cheaper of cypcap's loops is the one to beat.
    cypcap = min(
        ("cypcap-polling", "cypcap-blocking"), key=lambda way: sorted(costs[way])[rounds // 2]
    )
    print_table(
        f"capturing a flood, {kind}: {count} packets, {rounds} rounds",
        [
            "receiver",
            "lost",
            "counted as dropped",
            "CPU ns/packet",
            "system",
            "wakeups",
            "kpps sent",
            "× cypcap",
            "× pcapy-ng",
        ],
        [
            [
                name,
                str(sum(lost[way])),
                str(sum(counted[way])),
                spread(costs[way], lambda cost: f"{cost * 1e9:.0f}"),
                spread(
                    (r["system"] / (r["user"] + r["system"]) for r in reports[way]), "{:.0%}".format
                ),
                spread((r["wakeups"] for r in reports[way]), "{:.0f}".format),
                spread(rates[way], lambda rate: f"{rate / 1e3:.0f}"),
                f"{paired_ratio(costs[way], costs[cypcap]):.2f}",
                f"{paired_ratio(costs[way], costs['pcapy-ng']):.2f}",
            ]
            for way, name in _WAYS.items()
        ],
    )
    path = f"live, {kind}"
    results = []
    for backend in ("asyncio", "trio"):
        each, batches = f"each-{backend}", f"batches-{backend}"
        results += [
            Result(path, f"lost, {_WAYS[each]}", sum(lost[each]), "packets", 0),
            Result(path, f"lost, {_WAYS[batches]}", sum(lost[batches]), "packets", 0),
            Result(
                path,
                f"CPU, async for, {backend} / {cypcap}",
                paired_ratio(costs[each], costs[cypcap]),
                "×",
                _EACH_BOUND,
            ),
            Result(
                path,
                f"CPU, batches(), {backend} / pcapy-ng dispatch",
                paired_ratio(costs[batches], costs["pcapy-ng"]),
                "×",
                _BATCHES_BOUND,
            ),
        ]
    return results
