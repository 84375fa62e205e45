"""Tick every 10 ms beside a reader, and say how late the ticks were.

usage: python -m benchmarks.programs.tick BACKEND READER [DEVICE COUNT | FILE | -] SECONDS

READER is ``live-each``, ``live-batches``, ``file-each``, ``file-batches`` or ``nothing``.
A live reader ends with the packets, or when a line comes on the standard input. A file is read
again and again until SECONDS have passed.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import anyio

import aiopcap
from benchmarks.report import percentile
from tests.support.event_loop import LoopLag, loop_lag


async def _consume(capture: Any, each: bool, expected: int | None, seen: list[int]) -> None:
    count = 0
    try:
        if each:
            async for _ in capture:
                count += 1
                if count == expected:
                    break
        else:
            async for batch in capture.batches():
                count += len(batch)
                if expected is not None and count >= expected:
                    break
    finally:
        seen.append(count)


async def _live(device: str, each: bool, expected: int) -> tuple[int, LoopLag]:
    seen = [1]
    async with await aiopcap.open_live(device) as capture, loop_lag() as lag:
        # The sender starts some time after this line; the wait is not part of the flood.
        print("ready", flush=True)
        await capture.receive()
        lag.lags.clear()
        async with anyio.create_task_group() as tasks:

            async def stop_on_input() -> None:
                await anyio.wait_readable(sys.stdin)
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_on_input)
            await _consume(capture, each, expected - 1, seen)
            tasks.cancel_scope.cancel()
    return sum(seen), lag


async def _file(path: str, each: bool, seconds: float) -> tuple[int, LoopLag]:
    seen: list[int] = []
    until = time.monotonic() + seconds
    async with loop_lag() as lag:
        while time.monotonic() < until:
            async with await aiopcap.open_offline(path) as capture:
                await _consume(capture, each, None, seen)
    return sum(seen), lag


async def _nothing(seconds: float) -> tuple[int, LoopLag]:
    async with loop_lag() as lag:
        await anyio.sleep(seconds)
    return 0, lag


async def _measure(reader: str, arguments: list[str]) -> None:
    source, _, way = reader.partition("-")
    if source == "live":
        count, lag = await _live(arguments[0], way == "each", int(arguments[1]))
    elif source == "file":
        count, lag = await _file(arguments[0], way == "each", float(arguments[1]))
    else:
        count, lag = await _nothing(float(arguments[0]))
    lags = lag.lags
    report = {"packets": count, "ticks": len(lags), "max": max(lags)}
    for percent in (50, 99):
        report[f"p{percent}"] = percentile(lags, percent)
    print(json.dumps(report), flush=True)


def main() -> None:
    backend, reader, *arguments = sys.argv[1:]
    anyio.run(_measure, reader, arguments, backend=backend)


if __name__ == "__main__":
    main()
