"""What a capture costs others: nothing while it is idle, and never the loop for long."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import arrived, flood, numbers

pytestmark = pytest.mark.anyio

# Packets that wait for their reader: as many as one batch takes.
QUEUE = 4000


@dataclass
class Turns:
    """The turns that a task got beside another one, in processor time of this thread.

    In processor time, as what other processes of a machine take is nobody's fault here.
    """

    count: int = 0
    longest_gap: float = 0.0


@asynccontextmanager
async def _turns() -> AsyncIterator[Turns]:
    turns = Turns()

    async def take_turns() -> None:
        last = time.thread_time()
        while True:
            await anyio.lowlevel.checkpoint()
            now = time.thread_time()
            turns.count += 1
            turns.longest_gap = max(turns.longest_gap, now - last)
            last = now

    # A collection goes over all that pytest holds, which takes longer than what is measured.
    gc.collect()
    gc.disable()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            await anyio.lowlevel.checkpoint()
            yield turns
            tasks.cancel_scope.cancel()
    finally:
        gc.enable()


def _spin(seconds: float) -> None:
    until_then = time.thread_time() + seconds
    while time.thread_time() < until_then:
        pass


async def _queued(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    veth.send(numbered(QUEUE))
    await arrived(capture, QUEUE)


@pytest.mark.parametrize(
    "cost",
    [
        lambda number: 0.0001,
        # Cheap for long, then dear: what was cheap before says nothing of what comes.
        lambda number: 0.002 if number > 3800 else 0,
        lambda number: 0.01 if number % 400 == 0 else 0,
    ],
    ids=["dear", "suddenly dear", "now and then dear"],
)
async def test_a_busy_handler_does_not_hold_up_others(
    veth: Veth, cost: Callable[[int], float]
) -> None:
    async with await open_live(veth.near) as capture:
        await _queued(veth, capture)
        async with _turns() as turns:
            seen = 0
            async for packet in capture:
                _spin(cost(seen))
                assert numbers([packet]) == [seen]
                seen += 1
                if seen == QUEUE:
                    break
    # A millisecond and one call of the handler. Without giving way it were the whole queue's
    # time: 100 to 400 ms.
    assert turns.longest_gap < 0.05
    assert turns.count >= 5


async def test_a_busy_handler_can_be_cancelled(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        await _queued(veth, capture)
        begun = time.thread_time()
        with anyio.move_on_after(0.05):
            async for _ in capture:
                _spin(0.0002)
        assert time.thread_time() - begun < 0.1


async def _loop(capture: aiopcap.LiveCapture) -> None:
    async for _ in capture:
        pass


async def _receive(capture: aiopcap.LiveCapture) -> None:
    while True:
        await capture.receive()


async def _batches(capture: aiopcap.LiveCapture) -> None:
    async for _ in capture.batches():
        pass


@pytest.mark.parametrize(
    ("read", "immediate"), [(_loop, False), (_loop, True), (_receive, False), (_batches, False)]
)
async def test_a_flood_does_not_hold_up_others(
    veth: Veth, read: Callable[[aiopcap.LiveCapture], Awaitable[None]], immediate: bool
) -> None:
    async with await open_live(veth.near, immediate=immediate) as capture:
        with flood(veth, [frame()]):
            async with _turns() as turns:
                with anyio.move_on_after(0.25):
                    await read(capture)
        assert capture.statistics().received > 5_000
    assert turns.longest_gap < 0.05
    assert turns.count > 10


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


async def _measured(seconds: float) -> tuple[int, float]:
    """How often this thread goes to sleep in a time, and the process's processor seconds."""
    switches, used = _switches(), time.process_time()
    await anyio.sleep(seconds)
    return _switches() - switches, time.process_time() - used


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters of one thread")
@pytest.mark.parametrize("immediate", [False, True])
async def test_an_idle_capture_sleeps(veth: Veth, immediate: bool) -> None:
    async with (
        await open_live(veth.near, immediate=immediate) as capture,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_loop, capture)
        await wait_all_tasks_blocked()
        wakeups, used = await _measured(0.5)
        tasks.cancel_scope.cancel()
    assert wakeups < 6
    # Who looked each millisecond would take ten times as much.
    assert used < 0.03


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters of one thread")
async def test_packets_that_the_filter_stops_wake_nobody(veth: Veth) -> None:
    async with await open_live(veth.near, filter="udp") as capture:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_loop, capture)
            await wait_all_tasks_blocked()
            with flood(veth, [frame()]):
                wakeups, used = await _measured(0.5)
            tasks.cancel_scope.cancel()
        assert capture.statistics().received == 0
    assert wakeups < 10
    assert used < 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters of one thread")
async def test_waiting_while_the_link_is_down_costs_little(veth: Veth) -> None:
    async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
        tasks.start_soon(_loop, capture)
        await wait_all_tasks_blocked()
        veth.set_link(False)
        wakeups, used = await _measured(0.5)
        tasks.cancel_scope.cancel()
    assert wakeups < 20
    assert used < 0.05
