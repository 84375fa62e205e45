"""Sending: packets a second, beside a bare C loop, tcpreplay and the synchronous bindings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.fairness import while_sending
from benchmarks.report import Result, in_turn, median, paired_ratio, print_table, spread
from benchmarks.run import Report, Settings, child_command, compile_c, report_of
from benchmarks.savefiles import ETHERNET, IMIX, SMALL, warm, write_savefile
from benchmarks.tcpreplay import is_installed, tcpreplay
from benchmarks.wire import Wire, wire

__all__ = ["run"]

Send = Callable[[], Report]

_BACKENDS = ("asyncio", "trio")
_C_LOOP = "C sendmmsg"
_C_CAPTURE = "C sendmmsg, by a capture"
_TCPREPLAY = "tcpreplay --topspeed -K"
_C_BOUND = 0.97
_TCPREPLAY_BOUND = 1.1

_FRAMES = 20_000
_FRAME_WAYS = {
    "each-asyncio": "aiopcap send, asyncio",
    "each-trio": "aiopcap send, trio",
    "batches-asyncio": "aiopcap send_batch of 256, asyncio",
    "batches-trio": "aiopcap send_batch of 256, trio",
    "scapy-bytes": "scapy L2socket.send(bytes)",
    "scapy-packet": "scapy L2socket.send(Ether)",
    "pcapy-ng": "pcapy-ng sendpacket",
}
_EACH_BOUND = 2.0
_BATCHES_BOUND = 1.0


def run(settings: Settings) -> list[Result]:
    """Send files at top speed, then frames one by one, then beside another task."""
    loop = compile_c("send_savefile", settings.folder, "pcap")
    results = []
    with wire() as link:
        for kind, sizes, packets in (("small", SMALL, 400_000), ("imix", IMIX, 200_000)):
            path = settings.folder / f"{kind}.pcap"
            write_savefile(path, sizes, packets=packets, header=ETHERNET)
            warm(path)
            results += _topspeed(link, loop, path, settings.rounds(11))
        results += _frames(link, settings.rounds(9))
        results += while_sending(link, settings.folder / "small.pcap", settings)
    return results


def _in_turn(link: Wire, senders: Mapping[str, Send], rounds: int) -> dict[str, list[Report]]:
    reports: dict[str, list[Report]] = {name: [] for name in senders}
    for name in in_turn(senders, rounds):
        reports[name].append(link.send(senders[name]))
    return reports


def _rates(reports: Mapping[str, list[Report]]) -> dict[str, list[float]]:
    return {name: [r["packets"] / r["seconds"] for r in runs] for name, runs in reports.items()}


def _lost(runs: list[Report]) -> int:
    return int(sum(report["lost"] for report in runs))


def _topspeed(link: Wire, loop: str, path: Path, rounds: int) -> list[Result]:
    argv = [loop, link.device, str(path)]
    senders: dict[str, Send] = {
        _C_LOOP: partial(report_of, argv),
        _C_CAPTURE: partial(report_of, [*argv, "capture"]),
    }
    if is_installed():
        senders[_TCPREPLAY] = partial(tcpreplay, link.device, path, "--topspeed")
    ours = {backend: f"aiopcap transmit, {backend}" for backend in _BACKENDS}
    for backend, name in ours.items():
        argv = child_command("transmit_savefile", backend, link.device, path, "topspeed")
        senders[name] = partial(report_of, argv)
    reports = _in_turn(link, senders, rounds)
    rates = _rates(reports)

    bounds = {_C_LOOP: _C_BOUND, _TCPREPLAY: _TCPREPLAY_BOUND}
    peers = [name for name in bounds if name in senders]
    shown = [_C_LOOP, _C_CAPTURE, *(peer for peer in peers if peer != _C_LOOP)]
    print_table(
        f"sending a savefile from memory, {path.stem}: {rounds} rounds",
        ["sender", "lost", "kpps", *(f"× {peer}" for peer in shown)],
        [
            [
                name,
                str(_lost(reports[name])),
                spread(rates[name], lambda rate: f"{rate / 1e3:.0f}"),
                *(f"{paired_ratio(rates[name], rates[peer]):.2f}" for peer in shown),
            ]
            for name in senders
        ],
    )
    label = f"sending, {path.stem}"
    results = []
    for backend, name in ours.items():
        results.append(Result(label, f"lost, {name}", _lost(reports[name]), "packets", 0))
        for peer in peers:
            ratio = paired_ratio(rates[name], rates[peer])
            what = f"transmit, {backend} / {peer}"
            results.append(Result(label, what, ratio, "×", bounds[peer], at_least=True))
    return results


def _frames(link: Wire, rounds: int) -> list[Result]:
    senders = {
        way: partial(report_of, child_command("send_frames", way, link.device, _FRAMES))
        for way in _FRAME_WAYS
    }
    reports = _in_turn(link, senders, rounds)
    rates = _rates(reports)
    # The faster of scapy's ways is the one to beat.
    scapy = max(("scapy-bytes", "scapy-packet"), key=lambda way: median(rates[way]))
    peers = ("scapy-bytes", "scapy-packet", "pcapy-ng")
    print_table(
        f"sending frames from Python: {_FRAMES} of 60 bytes, {rounds} rounds",
        ["sender", "lost", "kpps", *(f"× {peer}" for peer in peers)],
        [
            [
                name,
                str(_lost(reports[way])),
                spread(rates[way], lambda rate: f"{rate / 1e3:.0f}"),
                *(f"{paired_ratio(rates[way], rates[peer]):.2f}" for peer in peers),
            ]
            for way, name in _FRAME_WAYS.items()
        ],
    )
    results = []
    for backend in _BACKENDS:
        for way, peer, bound in (
            ("each", scapy, _EACH_BOUND),
            ("batches", "pcapy-ng", _BATCHES_BOUND),
        ):
            name = f"{way}-{backend}"
            ratio = paired_ratio(rates[name], rates[peer])
            what = f"{_FRAME_WAYS[name]} / {_FRAME_WAYS[peer]}"
            results.append(Result("sending frames", what, ratio, "×", bound, at_least=True))
            lost = _lost(reports[name])
            what = f"lost, {_FRAME_WAYS[name]}"
            results.append(Result("sending frames", what, lost, "packets", 0))
    return results
