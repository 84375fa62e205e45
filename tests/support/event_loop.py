"""How late the event loop runs while something else is going on in it."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

__all__ = ["LoopLag", "loop_lag"]


@dataclass
class LoopLag:
    """Delays of a task that wants to run at fixed moments, in seconds."""

    lags: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many times the task ran."""
        return len(self.lags)

    @property
    def max(self) -> float:
        """The longest delay."""
        return max(self.lags, default=0.0)

    def percentile(self, percent: float) -> float:
        """The delay that ``percent`` of all delays do not exceed."""
        if not self.lags:
            return 0.0
        ordered = sorted(self.lags)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]

    @property
    def p99(self) -> float:
        """The delay that 99 % of all delays do not exceed."""
        return self.percentile(99)


async def _tick(lag: LoopLag, interval: float) -> None:
    # The moments are fixed in advance: a loop that was blocked for ten intervals is late ten
    # times, not once.
    due = time.perf_counter()
    while True:
        due += interval
        await anyio.sleep(max(0.0, due - time.perf_counter()))
        lag.lags.append(max(0.0, time.perf_counter() - due))


@asynccontextmanager
async def loop_lag(interval: float = 0.01) -> AsyncIterator[LoopLag]:
    """Measure the lag of the loop for the length of an ``async with`` block.

    Args:
        interval: Time between two ticks, in seconds.
    """
    lag = LoopLag()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, lag, interval)
        await anyio.lowlevel.checkpoint()
        try:
            yield lag
        finally:
            tasks.cancel_scope.cancel()
