"""Tick every 10 ms beside a dumper on a slow disk, and say how late the ticks were.

usage: python -m benchmarks.programs.tick_dumping BACKEND each|batches wait|drop FILE SECONDS

The disk takes 200 ms a write. FILE has the packets, which are sent as fast as the dumper takes
them. Also says by how much resident memory grew at its peak.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from pathlib import Path

import anyio

import aiopcap
from benchmarks.programs.watch_memory import forget_peak, resident
from benchmarks.report import percentile
from tests.support.event_loop import loop_lag

_WRITE_SECONDS = 0.2
_FRAMES = 1000


class _SlowDisk(io.RawIOBase):
    """Keeps nothing, and takes its time over each write, as a disk does: without the GIL."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        time.sleep(_WRITE_SECONDS)
        return memoryview(data).nbytes  # type: ignore[arg-type]  # whatever is written


async def _batch(path: Path) -> aiopcap.PacketBatch:
    async with await aiopcap.open_offline(path) as capture:
        return await capture.receive_batch()


async def _measure(way: str, when_full: str, path: str, seconds: float) -> None:
    batch = (await _batch(Path(path)))[:_FRAMES]
    packets = list(batch)
    sent = 0
    gc.collect()
    forget_peak()
    start = resident("VmRSS")
    dumper = await aiopcap.dump_open(
        _SlowDisk(),
        linktype=1,
        when_full=when_full,  # type: ignore[arg-type]  # from the command line
    )
    async with dumper, loop_lag() as lag:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if way == "batches":
                await dumper.send_batch(batch)
            else:
                for packet in packets:
                    await dumper.send(packet)
            sent += len(batch)
    growth = resident("VmHWM") - start
    lags = lag.lags
    report: dict[str, float] = {
        "packets": sent,
        "dropped": dumper.dropped,
        "growth": growth,
        "ticks": len(lags),
    }
    report |= {f"p{percent}": percentile(lags, percent) for percent in (50, 99)}
    print(json.dumps({**report, "max": max(lags)}), flush=True)


def main() -> None:
    backend, way, when_full, path, seconds = sys.argv[1:]
    anyio.run(_measure, way, when_full, path, float(seconds), backend=backend)


if __name__ == "__main__":
    main()
