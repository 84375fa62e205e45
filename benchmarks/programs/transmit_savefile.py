"""Send a savefile from memory, at top speed or on the schedule of its time stamps.

usage: python -m benchmarks.programs.transmit_savefile BACKEND DEVICE FILE topspeed|exact|gentle
"""

from __future__ import annotations

import json
import sys
import time

import anyio

import aiopcap


async def _transmit(device: str, path: str, way: str) -> None:
    queue = aiopcap.SendQueue()
    async with await aiopcap.open_offline(path) as source:
        await queue.extend_from(source)
    # As the documentation says of captures that only send.
    async with await aiopcap.open_live(device, buffer_timeout=1) as capture:
        cpu = time.process_time()
        wall = time.perf_counter()
        if way == "topspeed":
            report = await queue.transmit(capture)
        else:
            report = await queue.transmit(capture, sync=True, timing=way)
        wall = time.perf_counter() - wall
        cpu = time.process_time() - cpu
    print(json.dumps({"packets": report.packets, "seconds": wall, "cpu": cpu}))


def main() -> None:
    backend, device, path, way = sys.argv[1:]
    anyio.run(_transmit, device, path, way, backend=backend)


if __name__ == "__main__":
    main()
