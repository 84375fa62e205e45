"""Receive packets that carry the time of their sending, and say how long they were under way.

usage: python -m benchmarks.programs.receive_stamped WAY DEVICE COUNT
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import anyio

import aiopcap
from benchmarks.report import percentile
from benchmarks.run import peer

_STAMP = slice(14, 22)
_SNAPLEN = 65535
_TIMEOUT = 0.001  # seconds


class Delays:
    """Times from sending to delivery, in nanoseconds."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._delays: list[int] = []

    def add(self, data: bytes) -> bool:
        """Take a packet that was delivered just now, and say whether it was the last."""
        now = time.monotonic_ns()
        self._delays.append(now - int.from_bytes(data[_STAMP], sys.byteorder))
        return len(self._delays) == self._expected

    def report(self) -> None:
        report = {
            "packets": len(self._delays),
            "p50": percentile(self._delays, 50) / 1e9,
            "p99": percentile(self._delays, 99) / 1e9,
            "max": max(self._delays, default=0) / 1e9,
        }
        print(json.dumps(report), flush=True)


def _aiopcap(backend: str) -> Callable[[str, Delays], None]:
    async def receive(device: str, delays: Delays) -> None:
        async with (
            await aiopcap.open_live(device) as capture,
            anyio.create_task_group() as tasks,
        ):

            async def stop_on_input() -> None:
                await anyio.wait_readable(sys.stdin)
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_on_input)
            print("ready", flush=True)
            async for packet in capture:
                if delays.add(packet.data):
                    break
            tasks.cancel_scope.cancel()

    def run(device: str, delays: Delays) -> None:
        anyio.run(receive, device, delays, backend=backend)

    return run


def _open_cypcap(device: str) -> Any:
    capture = peer("cypcap").create(device)
    capture.set_pre_config(snaplen=_SNAPLEN, promisc=True, timeout=_TIMEOUT)
    capture.activate()
    return capture


def _cypcap(device: str, delays: Delays) -> None:
    with _open_cypcap(device) as capture:
        print("ready", flush=True)
        for header, data in capture:
            if header is None:
                if select.select([sys.stdin], [], [], 0)[0]:
                    return
            elif delays.add(data):
                return


WAYS: dict[str, Callable[[str, Delays], None]] = {
    "each-asyncio": _aiopcap("asyncio"),
    "each-trio": _aiopcap("trio"),
    "cypcap-blocking": _cypcap,
}


def main() -> None:
    way, device, expected = sys.argv[1:]
    delays = Delays(int(expected))
    WAYS[way](device, delays)
    delays.report()


if __name__ == "__main__":
    main()
