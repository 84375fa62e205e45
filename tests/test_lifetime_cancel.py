"""Cancelled at whatever step, a reader loses no packet and gets none twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aiopcap
from aiopcap import open_live

from .support.frames import number_of, numbered
from .support.resources import open_descriptors
from .support.veth import Veth
from .support_live import ASYNCIO_ALONE, PATIENCE, arrived, numbers, take, until

pytestmark = pytest.mark.anyio

ROUNDS = 60
FRAMES = 7

Reader = Callable[[aiopcap.LiveCapture, list[int]], Coroutine[Any, Any, None]]

# Short packets, as many more of them have room in the kernel's buffer then.
IMMEDIATE: dict[str, Any] = {"immediate": True, "snaplen": 256}


async def _by_receive(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    while True:
        seen.append(number_of((await capture.receive()).data))


async def _by_loop(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    async for packet in capture:
        seen.append(number_of(packet.data))
        await anyio.lowlevel.checkpoint()


async def _by_batches(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    async for batch in capture.batches(max_packets=3):
        seen += numbers(list(batch))


async def _by_receive_batch(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    while True:
        seen += numbers(list(await capture.receive_batch()))


async def _by_all_in_turn(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    while True:
        seen += numbers([await capture.receive()])
        seen += numbers([await anext(aiter(capture))])
        seen += numbers(list(await anext(capture.batches(2))))


READERS: list[Reader] = [_by_receive, _by_loop, _by_batches, _by_receive_batch, _by_all_in_turn]


async def _drain(read: Reader, capture: aiopcap.LiveCapture, seen: list[int], last: int) -> None:
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, capture, seen)
            await until(lambda: bool(seen) and seen[-1] == last)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("options", [{}, IMMEDIATE], ids=["default", "immediate"])
@pytest.mark.parametrize("read", READERS)
async def test_cancelled_after_any_number_of_steps(
    veth: Veth, read: Reader, options: dict[str, Any]
) -> None:
    seen: list[int] = []
    sent = 0
    async with await open_live(veth.near, **options) as capture:
        for steps in range(ROUNDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, capture, seen)
                for step in range(steps):
                    if step % 4 == 0:
                        veth.send(numbered(FRAMES, start=sent))
                        sent += FRAMES
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        await _drain(read, capture, seen, sent - 1)
        assert seen == list(range(sent))


@pytest.mark.parametrize("read", READERS)
async def test_cancelled_by_deadlines_while_packets_come(veth: Veth, read: Reader) -> None:
    seen: list[int] = []
    sent = 0
    async with await open_live(veth.near, **IMMEDIATE) as capture:
        for round_number in range(ROUNDS):
            veth.send(numbered(FRAMES, start=sent))
            sent += FRAMES
            with anyio.move_on_after(round_number * 50e-6):
                await read(capture, seen)
        await _drain(read, capture, seen, sent - 1)
        assert seen == list(range(sent))


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE)
@pytest.mark.parametrize("read", READERS)
async def test_cancelled_by_asyncio_itself(veth: Veth, read: Reader) -> None:
    seen: list[int] = []
    sent = 0
    async with await open_live(veth.near, **IMMEDIATE) as capture:
        for steps in range(ROUNDS):
            task = asyncio.ensure_future(read(capture, seen))
            for step in range(steps):
                if step % 4 == 0:
                    veth.send(numbered(FRAMES, start=sent))
                    sent += FRAMES
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await _drain(read, capture, seen, sent - 1)
        assert seen == list(range(sent))


async def test_a_cancel_meets_a_reader_that_packets_keep_busy(veth: Veth) -> None:
    async with await open_live(veth.near, **IMMEDIATE) as capture:
        for start in range(0, 2000, 200):
            veth.send(numbered(200, start=start))
            await arrived(capture, start + 200)
            seen: list[int] = []
            with anyio.CancelScope() as scope:
                async for packet in capture:
                    seen.append(number_of(packet.data))
                    if len(seen) == 5:
                        scope.cancel()
            # At the next checkpoint, which is a millisecond away at most.
            assert len(seen) >= 5
            rest = numbers(await take(capture, 200 - len(seen)))
            assert seen + rest == list(range(start, start + 200))


async def test_receiving_is_always_a_checkpoint(veth: Veth) -> None:
    async with await open_live(veth.near, **IMMEDIATE) as capture:
        veth.send(numbered(10))
        await arrived(capture, 10)
        await capture.receive()  # and the others are in hand
        for read in (capture.receive, capture.receive_batch, partial(anext, capture.batches())):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await read()
            assert scope.cancelled_caught
        assert numbers(await take(capture, 9)) == list(range(1, 10))


def _captures() -> int:
    """How many packet sockets this process holds."""
    table = Path("/proc/self/net/packet").read_text().splitlines()[1:]
    inodes = {f"socket:[{line.split()[-1]}]" for line in table}
    return len(inodes.intersection(open_descriptors().values()))


async def _open_and_wait(veth: Veth) -> None:
    async with await open_live(veth.near, filter="udp"):
        await anyio.sleep_forever()


async def test_a_cancelled_open_leaves_nothing(veth: Veth) -> None:
    before = _captures()
    for steps in range(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_open_and_wait, veth)
            for _ in range(steps * steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    # What was being opened is closed where it was opened, a moment later.
    await until(lambda: _captures() == before)


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE)
async def test_an_open_that_asyncio_itself_cancels_leaves_nothing(veth: Veth) -> None:
    before = _captures()
    for steps in range(30):
        task = asyncio.ensure_future(_open_and_wait(veth))
        for _ in range(steps * steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await until(lambda: _captures() == before)
