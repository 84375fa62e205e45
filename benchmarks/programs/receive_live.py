"""Receive packets from a device in one of several ways, and say what that cost.

usage: python -m benchmarks.programs.receive_live WAY DEVICE COUNT

Prints ``ready`` when capturing has begun. Ends when COUNT packets have come or a line comes on
the standard input, and prints what the whole process spent on the processor in between.
"""

from __future__ import annotations

import json
import resource
import select
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

import aiopcap
from benchmarks.run import peer

# What the peers' documentation suggests, with the wait for a full block that aiopcap has.
_SNAPLEN = 65535
_TIMEOUT = 0.001  # seconds


class Meter:
    """The time and processor time between the start of capturing and the last packet."""

    def begin(self) -> None:
        print("ready", flush=True)
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._wall = time.perf_counter()

    def end(self, packets: int, received: int, dropped: int) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        report = {
            "packets": packets,
            "seconds": time.perf_counter() - self._wall,
            "user": usage.ru_utime - self._usage.ru_utime,
            "system": usage.ru_stime - self._usage.ru_stime,
            "wakeups": usage.ru_nvcsw - self._usage.ru_nvcsw,
            "received": received,
            "dropped": dropped,
        }
        print(json.dumps(report), flush=True)


async def _count_each(capture: Any, expected: int, seen: list[int]) -> None:
    count = 0
    try:
        async for _ in capture:
            count += 1
            if count == expected:
                return
    finally:
        seen.append(count)


async def _count_batches(capture: Any, expected: int, seen: list[int]) -> None:
    count = 0
    try:
        async for batch in capture.batches():
            count += len(batch)
            if count >= expected:
                return
    finally:
        seen.append(count)


def _aiopcap(
    backend: str, consume: Callable[[Any, int, list[int]], Awaitable[None]]
) -> Callable[[str, int], None]:
    async def receive(device: str, expected: int) -> None:
        meter = Meter()
        seen: list[int] = []
        async with await aiopcap.open_live(device) as capture:
            async with anyio.create_task_group() as tasks:

                async def stop_on_input() -> None:
                    await anyio.wait_readable(sys.stdin)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(stop_on_input)
                await anyio.wait_all_tasks_blocked()
                meter.begin()
                await consume(capture, expected, seen)
                tasks.cancel_scope.cancel()
            statistics = capture.statistics()
            meter.end(seen[0], statistics.received, statistics.dropped)

    def run(device: str, expected: int) -> None:
        anyio.run(receive, device, expected, backend=backend)

    return run


def _stop_asked() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _open_cypcap(device: str) -> Any:
    capture = peer("cypcap").create(device)
    capture.set_pre_config(snaplen=_SNAPLEN, promisc=True, timeout=_TIMEOUT)
    capture.activate()
    return capture


def _cypcap_blocking(device: str, expected: int) -> None:
    meter = Meter()
    count = 0
    with _open_cypcap(device) as capture:
        meter.begin()
        for header, _ in capture:
            if header is None:  # the wait timed out
                if _stop_asked():
                    break
                continue
            count += 1
            if count == expected:
                break
        statistics = capture.stats()
        meter.end(count, statistics.recv, statistics.drop)


def _cypcap_polling(device: str, expected: int) -> None:
    meter = Meter()
    count = 0
    with _open_cypcap(device) as capture:
        capture.setnonblock(True)
        poll = select.poll()
        poll.register(capture.get_selectable_fd(), select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        meter.begin()
        stopped = False
        while not stopped:
            poll.poll()
            for header, _ in capture:
                if header is None:  # nothing more for now
                    stopped = _stop_asked()
                    break
                count += 1
                if count == expected:
                    stopped = True
                    break
        statistics = capture.stats()
        meter.end(count, statistics.recv, statistics.drop)


def _pcapy(device: str, expected: int) -> None:
    pcapy = peer("pcapy")

    meter = Meter()
    count = 0

    def callback(header: object, data: bytes) -> None:
        nonlocal count
        count += 1

    capture = pcapy.open_live(device, _SNAPLEN, 1, round(_TIMEOUT * 1000))
    meter.begin()
    while count < expected:
        before = count
        capture.dispatch(-1, callback)
        if count == before and _stop_asked():
            break
    received, dropped, _ = capture.stats()
    meter.end(count, received, dropped)


WAYS: dict[str, Callable[[str, int], None]] = {
    "each-asyncio": _aiopcap("asyncio", _count_each),
    "each-trio": _aiopcap("trio", _count_each),
    "batches-asyncio": _aiopcap("asyncio", _count_batches),
    "batches-trio": _aiopcap("trio", _count_batches),
    "cypcap-blocking": _cypcap_blocking,
    "cypcap-polling": _cypcap_polling,
    "pcapy-ng": _pcapy,
}


def main() -> None:
    way, device, expected = sys.argv[1:]
    WAYS[way](device, int(expected))


if __name__ == "__main__":
    main()
