"""Copy a savefile through batches and a dumper.

usage: python -m benchmarks.programs.copy_savefile BACKEND SOURCE TARGET
"""

from __future__ import annotations

import json
import sys
import time

import anyio

import aiopcap


async def _copy(source: str, target: str) -> None:
    count = 0
    cpu = time.process_time()
    wall = time.perf_counter()
    async with (
        await aiopcap.open_offline(source) as capture,
        await capture.dump_open(target) as dumper,
    ):
        async for batch in capture.batches():
            await dumper.send_batch(batch)
            count += len(batch)
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    print(json.dumps({"packets": count, "seconds": wall, "cpu": cpu}))


def main() -> None:
    backend, source, target = sys.argv[1:]
    anyio.run(_copy, source, target, backend=backend)


if __name__ == "__main__":
    main()
