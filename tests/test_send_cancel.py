"""Who may send, and what a sender that is cancelled has sent: exactly what it knows of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

import aiopcap
from aiopcap import open_live

from .live_programs import options
from .support.frames import frame, numbered
from .support.resources import open_descriptors
from .support.veth import Veth
from .support_live import ASYNCIO_ALONE, BACKENDS, PATIENCE, run_program
from .support_send import METHODS, Gate, fill, listening, only, queue_of, until_sending


@pytest.mark.anyio
async def test_cancelled_before_it_sends(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in ("send", "send_batch", "transmit"):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await METHODS[method](capture, frame())
                assert scope.cancelled_caught
            assert await far.everything() == []
            # `send_nowait` has nothing to do with cancellation.
            with anyio.CancelScope() as scope:
                scope.cancel()
                capture.send_nowait(frame())
            assert await far.everything() == [frame()]


Sender = Callable[[aiopcap.LiveCapture, list[bytes], list[int]], Coroutine[Any, Any, None]]


async def _one_by_one(capture: aiopcap.LiveCapture, rest: list[bytes], known: list[int]) -> None:
    for data in rest:
        await capture.send(data)
        known[0] += 1


async def _queue(capture: aiopcap.LiveCapture, rest: list[bytes], known: list[int]) -> None:
    queue = queue_of(rest)
    try:
        await queue.transmit(capture)
    finally:
        report = queue.last_report
        assert report is not None
        assert report.packets * 60 == report.nbytes
        known[0] += report.packets


async def _paced(capture: aiopcap.LiveCapture, rest: list[bytes], known: list[int]) -> None:
    queue = queue_of(rest)
    try:
        await queue.transmit(capture, pps=100_000)
    finally:
        assert queue.last_report is not None
        known[0] += queue.last_report.packets


SENDERS: dict[str, Sender] = {"send": _one_by_one, "transmit": _queue, "paced": _paced}
FRAMES = 4000


@pytest.mark.anyio
@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
async def test_cancelled_at_any_moment_it_knows_what_it_sent(veth: Veth, sender: Sender) -> None:
    frames, known = numbered(FRAMES), [0]
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for turns in range(12):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(sender, capture, frames[known[0] :], known)
                        # A little further each time; sometimes it has not begun.
                        for _ in range(turns):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
                assert veth.counters().rx_packets == known[0]
            await sender(capture, frames[known[0] :], known)
            assert known[0] == FRAMES
            assert await far.everything() == frames


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE, indirect=True)
@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
async def test_asyncios_own_cancellation_is_as_exact(veth: Veth, sender: Sender) -> None:
    frames, known = numbered(FRAMES), [0]
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for turns in range(12):
                task = asyncio.create_task(sender(capture, frames[known[0] :], known))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert veth.counters().rx_packets == known[0]
            await sender(capture, frames[known[0] :], known)
            assert known[0] == FRAMES
            assert await far.everything() == frames


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE, indirect=True)
@pytest.mark.parametrize("limit", [4000, 10_000_000], ids=["queue", "buffer"])
async def test_asyncios_own_cancellation_ends_a_wait_for_room(veth: Veth, limit: int) -> None:
    gate, descriptors = Gate(veth), {}
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            gate.shut(limit)
            sent = fill(capture, 60 if limit == 4000 else 1514)
            descriptors = open_descriptors()
            for method in ("send", "send_batch", "transmit"):
                task = asyncio.create_task(METHODS[method](capture, frame()))
                await until_sending(capture)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, PATIENCE)
            assert open_descriptors() == descriptors
            gate.open()
            assert await far.everything() == sent


@pytest.mark.anyio
async def test_one_task_sends_at_a_time(veth: Veth) -> None:
    gate = Gate(veth)
    async with await open_live(veth.near) as capture, await open_live(veth.near) as other:
        with listening(veth) as far:
            gate.shut(4000)
            sent = fill(capture, 60)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(capture.send, sent[0])
                await until_sending(capture)
                for method in METHODS.values():
                    with pytest.raises(anyio.BusyResourceError):
                        await only(method(capture, frame()))
                gate.open()
                # The place of another capture is free.
                for method in METHODS.values():
                    await only(method(other, sent[1]))
            for method in METHODS.values():
                await only(method(capture, sent[2]))
            found = await far.everything()
            assert found[: len(sent)] == sent
            assert sorted(found[len(sent) :]) == sorted([sent[0], *[sent[1]] * 4, *[sent[2]] * 4])


@pytest.mark.anyio
@pytest.mark.parametrize("other", BACKENDS)
async def test_another_event_loop_may_not_send(veth: Veth, other: str) -> None:
    refused: list[str] = []

    async def use(method: str) -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            await only(METHODS[method](capture, frame()))
        refused.append(method)

    def use_elsewhere() -> None:
        for method in METHODS:
            anyio.run(use, method, **options(other))

    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            await to_thread.run_sync(use_elsewhere)
            assert refused == [*METHODS]
            with pytest.raises(RuntimeError, match="event loop"):
                await to_thread.run_sync(capture.send_nowait, frame())
            await capture.send(numbered(1)[0])
            assert await far.everything() == numbered(1)


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_leaves_sending_to_the_parent(backend: str) -> None:
    run_program("sending", "send_in_child", backend)
