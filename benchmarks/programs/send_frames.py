"""Send a frame of 60 bytes many times, in one of several ways.

usage: python -m benchmarks.programs.send_frames WAY DEVICE COUNT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

import aiopcap
from benchmarks.run import peer
from tests.support.frames import frame

_BATCH = 256
_SNAPLEN = 65535

# Both captures only send: the kernel need not look after their buffers a thousand times a second.
_TIMEOUT = 1.0  # seconds

_FRAME = frame()


class Meter:
    """The time and processor time of sending; opening is not part of it."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def end(self, packets: int) -> None:
        wall = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        print(json.dumps({"packets": packets, "seconds": wall, "cpu": cpu}))


async def _each(capture: aiopcap.LiveCapture, count: int) -> int:
    for _ in range(count):
        await capture.send(_FRAME)
    return count


async def _batches(capture: aiopcap.LiveCapture, count: int) -> int:
    frames = [_FRAME] * _BATCH
    sent = 0
    while sent < count:
        sent += await capture.send_batch(frames[: count - sent])
    return sent


def _aiopcap(
    backend: str, send: Callable[[aiopcap.LiveCapture, int], Awaitable[int]]
) -> Callable[[str, int], None]:
    async def run_on(device: str, count: int) -> None:
        async with await aiopcap.open_live(device, buffer_timeout=_TIMEOUT) as capture:
            meter = Meter()
            meter.end(await send(capture, count))

    def run(device: str, count: int) -> None:
        anyio.run(run_on, device, count, backend=backend)

    return run


def _loop(send: Callable[[Any], object], packet: object, count: int) -> None:
    meter = Meter()
    for _ in range(count):
        send(packet)
    meter.end(count)


def _scapy(device: str, count: int, *, built: bool) -> None:
    everything = peer("scapy.all")
    with everything.conf.L2socket(iface=device) as link:
        _loop(link.send, everything.Ether(_FRAME) if built else _FRAME, count)


def _scapy_bytes(device: str, count: int) -> None:
    _scapy(device, count, built=False)


def _scapy_packet(device: str, count: int) -> None:
    _scapy(device, count, built=True)


def _pcapy(device: str, count: int) -> None:
    capture = peer("pcapy").open_live(device, _SNAPLEN, 1, round(_TIMEOUT * 1000))
    _loop(capture.sendpacket, _FRAME, count)


WAYS: dict[str, Callable[[str, int], None]] = {
    "each-asyncio": _aiopcap("asyncio", _each),
    "each-trio": _aiopcap("trio", _each),
    "batches-asyncio": _aiopcap("asyncio", _batches),
    "batches-trio": _aiopcap("trio", _batches),
    "scapy-bytes": _scapy_bytes,
    "scapy-packet": _scapy_packet,
    "pcapy-ng": _pcapy,
}


def main() -> None:
    way, device, count = sys.argv[1:]
    WAYS[way](device, int(count))


if __name__ == "__main__":
    main()
