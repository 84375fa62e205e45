"""Reading a savefile: packets a second, beside a bare C loop and the synchronous bindings."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import Result, in_turn, paired_ratio, print_table, spread
from benchmarks.run import Report, Settings, child_command, compile_c, report_of
from benchmarks.savefiles import IMIX, SMALL, warm, write_savefile

__all__ = ["run"]

_C_LOOP = "C pcap_loop"
_WAYS = {
    "batches-asyncio": "aiopcap batches(), asyncio",
    "batches-trio": "aiopcap batches(), trio",
    "each-asyncio": "aiopcap async for, asyncio",
    "each-trio": "aiopcap async for, trio",
    "cypcap": "cypcap for",
    "pcapy-ng": "pcapy-ng loop(callback)",
}
_BATCHES_BOUND = 0.9
_PCAPNG_BOUND = 0.8
_EACH_BOUND = 0.45


def run(settings: Settings) -> list[Result]:
    """Measure both kinds of packets, and both formats."""
    counter = compile_c("count_savefile", settings.folder, "pcap")
    results = []
    for kind, sizes, packets, pcapng in (
        ("imix", IMIX, 1_000_000, False),
        ("small", SMALL, 2_000_000, False),
        ("imix, pcapng", IMIX, 1_000_000, True),
        ("small, pcapng", SMALL, 2_000_000, True),
    ):
        path = settings.folder / f"{kind}.pcap"
        write_savefile(path, sizes, packets=packets, pcapng=pcapng)
        bound = _PCAPNG_BOUND if pcapng else _BATCHES_BOUND
        try:
            results += _read(kind, path, packets, counter, settings.rounds(9), bound)
        finally:
            path.unlink()
    return results


def _read(
    kind: str, path: Path, packets: int, counter: str, rounds: int, batches_bound: float
) -> list[Result]:
    commands = {_C_LOOP: [counter, str(path)]}
    for way, name in _WAYS.items():
        commands[name] = child_command("read_savefile", way, path)
    warm(path)
    reports: dict[str, list[Report]] = {name: [] for name in commands}
    for name in in_turn(commands, rounds):
        report = report_of(commands[name])
        if report["packets"] != packets:
            raise RuntimeError(f"{name} read {report['packets']} of {packets} packets")
        reports[name].append(report)

    rates = {name: [packets / r["seconds"] for r in runs] for name, runs in reports.items()}
    c_rates, cypcap_rates = rates[_C_LOOP], rates[_WAYS["cypcap"]]
    print_table(
        f"reading a savefile, {kind}: {packets} packets, {rounds} rounds",
        ["reader", "million packets/s", "CPU ns/packet", "× C loop", "× cypcap"],
        [
            [
                name,
                spread(rates[name], lambda rate: f"{rate / 1e6:.2f}"),
                spread((r["cpu"] / packets for r in runs), lambda cpu: f"{cpu * 1e9:.0f}"),
                f"{paired_ratio(rates[name], c_rates):.2f}",
                f"{paired_ratio(rates[name], cypcap_rates):.2f}",
            ]
            for name, runs in reports.items()
        ],
    )
    results = []
    for backend in ("asyncio", "trio"):
        batches, each = rates[_WAYS[f"batches-{backend}"]], rates[_WAYS[f"each-{backend}"]]
        for what, ratio, bound in (
            (f"batches(), {backend} / C loop", paired_ratio(batches, c_rates), batches_bound),
            (f"async for, {backend} / cypcap", paired_ratio(each, cypcap_rates), _EACH_BOUND),
        ):
            results.append(Result(f"savefile, {kind}", what, ratio, "×", bound, at_least=True))
    return results
