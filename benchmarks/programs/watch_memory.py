"""Read a savefile and say by how much resident memory grew at its peak.

usage: python -m benchmarks.programs.watch_memory BACKEND each|batches FILE
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import anyio

import aiopcap

_KIB = 1024


def resident(key: str) -> int:
    """A line of /proc/self/status, in bytes: ``VmRSS`` is now, ``VmHWM`` the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * _KIB
    raise LookupError(key)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def _read(way: str, path: str) -> None:
    count = 0
    gc.collect()
    forget_peak()
    start = resident("VmRSS")
    async with await aiopcap.open_offline(path) as capture:
        if way == "each":
            async for _ in capture:
                count += 1
        else:
            async for batch in capture.batches():
                count += len(batch)
    print(json.dumps({"packets": count, "growth": resident("VmHWM") - start}))


def main() -> None:
    backend, way, path = sys.argv[1:]
    anyio.run(_read, way, path, backend=backend)


if __name__ == "__main__":
    main()
