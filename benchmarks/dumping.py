"""Writing a flood to a savefile: what is lost, and what each packet costs, beside tcpdump."""

from __future__ import annotations

from benchmarks.fairness import while_dumping
from benchmarks.flood import Hosts, hosts
from benchmarks.report import Result, in_turn, paired_ratio, print_table, spread
from benchmarks.run import Settings, child_command

__all__ = ["run"]

_TCPDUMP = "tcpdump"
_WAYS = {
    "asyncio": "aiopcap live_dump, asyncio",
    "trio": "aiopcap live_dump, trio",
    _TCPDUMP: "tcpdump -w",
}
_BOUND = 1.1


def run(settings: Settings) -> list[Result]:
    """Flood all in turn, with small packets and with a mix of lengths."""
    results = []
    with hosts(settings.folder) as link:
        for kind, packets in (("small", 400_000), ("imix", 200_000)):
            count = packets // (4 if settings.quick else 1)
            results += _flood(link, kind, count, settings)
    return results + while_dumping(settings)


def _flood(link: Hosts, kind: str, count: int, settings: Settings) -> list[Result]:
    rounds = settings.rounds(9)
    target = settings.folder / "dump.pcap"
    costs: dict[str, list[float]] = {way: [] for way in _WAYS}
    lost: dict[str, int] = dict.fromkeys(_WAYS, 0)
    for way in in_turn(_WAYS, rounds):
        command = child_command("dump_live", way, link.device, count, target)
        flood = link.flood(command, count, kind)
        target.unlink()
        costs[way].append(flood.receiver["cpu"] / flood.receiver["packets"])
        lost[way] += flood.lost
    print_table(
        f"writing a flood to a savefile, {kind}: {count} packets, {rounds} rounds",
        ["program", "lost", "CPU ns/packet", "× tcpdump"],
        [
            [
                name,
                str(lost[way]),
                spread(costs[way], lambda cost: f"{cost * 1e9:.0f}"),
                f"{paired_ratio(costs[way], costs[_TCPDUMP]):.2f}",
            ]
            for way, name in _WAYS.items()
        ],
    )
    results = []
    for backend in ("asyncio", "trio"):
        ratio = paired_ratio(costs[backend], costs[_TCPDUMP])
        results += [
            Result(f"live_dump, {kind}", f"lost, {backend}", lost[backend], "packets", 0),
            Result(f"live_dump, {kind}", f"CPU, {backend} / tcpdump", ratio, "×", _BOUND),
        ]
    return results
