"""Count the packets of a savefile in one of several ways.

usage: python -m benchmarks.programs.read_savefile WAY FILE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import anyio
import anyio.lowlevel

import aiopcap
from benchmarks.run import peer


async def _each(path: str) -> int:
    count = 0
    async with await aiopcap.open_offline(path) as capture:
        async for _ in capture:
            count += 1
    return count


async def _batches(path: str) -> int:
    count = 0
    async with await aiopcap.open_offline(path) as capture:
        async for batch in capture.batches():
            count += len(batch)
    return count


def _each_on_asyncio(path: str) -> int:
    return anyio.run(_each, path)


def _each_on_trio(path: str) -> int:
    return anyio.run(_each, path, backend="trio")


def _batches_on_asyncio(path: str) -> int:
    return anyio.run(_batches, path)


def _batches_on_trio(path: str) -> int:
    return anyio.run(_batches, path, backend="trio")


def _cypcap(path: str) -> int:
    cypcap = peer("cypcap")

    count = 0
    with cypcap.open_offline(path) as capture:
        for _ in capture:
            count += 1
    return count


def _pcapy(path: str) -> int:
    pcapy = peer("pcapy")

    count = 0

    def callback(header: object, data: bytes) -> None:
        nonlocal count
        count += 1

    pcapy.open_offline(path).loop(-1, callback)
    return count


WAYS: dict[str, Callable[[str], int]] = {
    "batches-asyncio": _batches_on_asyncio,
    "batches-trio": _batches_on_trio,
    "each-asyncio": _each_on_asyncio,
    "each-trio": _each_on_trio,
    "cypcap": _cypcap,
    "pcapy-ng": _pcapy,
}


def main() -> None:
    way, path = sys.argv[1:]
    read = WAYS[way]
    backend = way.partition("-")[2]
    if backend in ("asyncio", "trio"):
        anyio.run(anyio.lowlevel.checkpoint, backend=backend)  # what it imports is not reading
    cpu = time.process_time()
    wall = time.perf_counter()
    count = read(path)
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    print(json.dumps({"packets": count, "seconds": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
