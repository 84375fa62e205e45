"""Tick every 10 ms beside a sender, and say how late the ticks were.

usage: python -m benchmarks.programs.tick_sending BACKEND WAY DEVICE FILE SECONDS

WAY is ``topspeed`` or ``sync``, which send the file again and again from memory, or ``each`` or
``batches``, which send a frame of 60 bytes.
"""

from __future__ import annotations

import json
import sys
import time

import anyio

import aiopcap
from benchmarks.report import percentile
from tests.support.event_loop import loop_lag
from tests.support.frames import frame

_BATCH = 256


async def _transmit(capture: aiopcap.LiveCapture, path: str, sync: bool, seconds: float) -> int:
    queue = aiopcap.SendQueue()
    async with await aiopcap.open_offline(path) as source:
        await queue.extend_from(source)
    with anyio.move_on_after(seconds):
        await queue.transmit(capture, sync=sync, loop=None)
    assert queue.last_report is not None
    return queue.last_report.packets


async def _each(capture: aiopcap.LiveCapture, seconds: float) -> int:
    data = frame()
    until = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < until:
        await capture.send(data)
        sent += 1
    return sent


async def _batches(capture: aiopcap.LiveCapture, seconds: float) -> int:
    frames = [frame()] * _BATCH
    until = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < until:
        sent += await capture.send_batch(frames)
    return sent


async def _measure(way: str, device: str, path: str, seconds: float) -> None:
    async with await aiopcap.open_live(device) as capture, loop_lag() as lag:
        if way == "each":
            sent = await _each(capture, seconds)
        elif way == "batches":
            sent = await _batches(capture, seconds)
        else:
            sent = await _transmit(capture, path, way == "sync", seconds)
    report = {"packets": sent, "ticks": lag.count, "max": lag.max}
    for percent in (50, 99):
        report[f"p{percent}"] = percentile(lag.lags, percent)
    print(json.dumps(report))


def main() -> None:
    backend, way, device, path, seconds = sys.argv[1:]
    anyio.run(_measure, way, device, path, float(seconds), backend=backend)


if __name__ == "__main__":
    main()
