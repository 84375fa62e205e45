"""Closing a capture: at once, once, whoever waits, and for good."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import LinkType, open_live

from .support.event_loop import loop_lag
from .support.frames import numbered
from .support.resources import open_descriptors, resources
from .support.veth import Veth
from .support_live import ASYNCIO_ALONE, PATIENCE, arrived, call, numbers, take

pytestmark = pytest.mark.anyio

Read = Callable[[aiopcap.LiveCapture], Awaitable[Any]]


async def _iterate(capture: aiopcap.LiveCapture) -> None:
    async for _ in capture:
        pass


async def _iterate_batches(capture: aiopcap.LiveCapture) -> None:
    async for _ in capture.batches():
        pass


READS: dict[str, Read] = {
    "receive": lambda capture: capture.receive(),
    "receive_batch": lambda capture: capture.receive_batch(),
    "async for": _iterate,
    "batches": _iterate_batches,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
async def test_a_waiting_reader_learns_of_the_close_at_once(veth: Veth, read: Read) -> None:
    delays = []

    async def wait(capture: aiopcap.LiveCapture) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await read(capture)
        delays.append(time.perf_counter() - closed_at)

    for _ in range(3):
        capture = await open_live(veth.near)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, capture)
                await wait_all_tasks_blocked()
                closed_at = time.perf_counter()
                await capture.aclose()
    # The shortest: other processes of the machine may hold up one or the other.
    assert min(delays) < 0.05


async def test_after_a_close_not_even_packets_in_hand_come(veth: Veth) -> None:
    capture = await open_live(veth.near, immediate=True)
    veth.send(numbered(10))
    await arrived(capture, 10)
    assert len(await take(capture, 3)) == 3
    await capture.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await _iterate(capture)


async def test_closing_again_does_nothing(veth: Veth) -> None:
    before = resources()
    capture = await open_live(veth.near)
    await capture.aclose()
    descriptors = open_descriptors()
    with Path(os.devnull).open("rb") as other:  # takes the number of the one that was closed
        for _ in range(3):
            await capture.aclose()
        assert other.read() == b""
    assert open_descriptors().keys() == descriptors.keys()
    assert resources().descriptors <= before.descriptors


async def test_several_tasks_may_close(veth: Veth) -> None:
    descriptors = open_descriptors().keys()
    capture = await open_live(veth.near)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(capture.aclose)
    await capture.aclose()
    assert open_descriptors().keys() == descriptors


async def test_a_cancelled_close_closes_all_the_same(veth: Veth) -> None:
    capture = await open_live(veth.near)
    socket = open_descriptors()[capture.fileno()]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await capture.aclose()
    assert scope.cancelled_caught
    assert socket not in open_descriptors().values()
    with pytest.raises(anyio.ClosedResourceError):
        await capture.receive()


async def test_leaving_the_with_block_by_an_exception_closes(veth: Veth) -> None:
    sockets = []

    async def fail() -> None:
        async with await open_live(veth.near) as capture:
            sockets.append(open_descriptors()[capture.fileno()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert sockets[0] not in open_descriptors().values()


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE)
@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_task_cancelled_by_asyncio_itself_closes_all_the_same(
    veth: Veth, steps: int
) -> None:
    """asyncio's own cancellation knows no shields, and may come at any step of the closing."""
    capture = await open_live(veth.near)
    socket = open_descriptors()[capture.fileno()]
    task = asyncio.ensure_future(capture.aclose())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with anyio.fail_after(PATIENCE):
        while socket in open_descriptors().values():
            await anyio.lowlevel.checkpoint()


async def test_closing_lets_other_tasks_run(veth: Veth) -> None:
    captures = [await open_live(veth.near) for _ in range(10)]
    async with loop_lag(0.002) as lag:
        await anyio.lowlevel.checkpoint()
        for capture in captures:
            before = lag.count
            await capture.aclose()
            # The kernel takes some ten milliseconds for each, and nobody else shall wait for it.
            assert lag.count > before


CLOSED: dict[str, Callable[[aiopcap.LiveCapture], Any]] = {
    "__anext__": anext,
    "receive": lambda capture: capture.receive(),
    "receive_nowait": lambda capture: capture.receive_nowait(),
    "receive_batch": lambda capture: capture.receive_batch(),
    "batches": lambda capture: anext(capture.batches()),
    "send": lambda capture: capture.send(bytes(60)),
    "send_nowait": lambda capture: capture.send_nowait(bytes(60)),
    "send_batch": lambda capture: capture.send_batch([bytes(60)]),
    "set_filter": lambda capture: capture.set_filter("udp"),
    "statistics": lambda capture: capture.statistics(),
    "datalinks": lambda capture: capture.datalinks(),
    "set_datalink": lambda capture: capture.set_datalink(LinkType.EN10MB),
    "fileno": lambda capture: capture.fileno(),
    "dump_open": lambda capture: capture.dump_open(os.devnull),
    "live_dump": lambda capture: capture.live_dump(os.devnull),
}


def test_the_use_of_every_method_after_the_close_is_tested() -> None:
    methods = {
        name
        for name in dir(aiopcap.LiveCapture)
        if not name.startswith("_") and callable(getattr(aiopcap.LiveCapture, name))
    }
    assert methods - {"aclose", "extra"} == CLOSED.keys() - {"__anext__"}


async def test_a_closed_capture_says_so(veth: Veth) -> None:
    capture = await open_live(veth.near, immediate=True)
    veth.send(numbered(3))
    await arrived(capture, 3)
    await capture.receive()  # the others are in hand
    await capture.aclose()
    for name, use in CLOSED.items():
        with pytest.raises(anyio.ClosedResourceError):
            pytest.fail(f"{name} returned {await call(use, capture)!r}")


async def test_what_is_known_of_a_closed_capture(veth: Veth) -> None:
    capture = await open_live(veth.near, filter="udp", snaplen=100)
    await capture.aclose()
    assert (capture.device, capture.linktype, capture.snaplen) == (veth.near, LinkType.EN10MB, 100)
    assert str(capture.filter) == "udp"
    assert repr(capture).startswith("<closed LiveCapture")


async def test_a_closed_capture_has_no_say_about_its_old_descriptor(veth: Veth) -> None:
    """The next capture gets the number of the last; who waited for the last must not disturb it."""
    results: list[Any] = []

    async def wait(capture: aiopcap.LiveCapture) -> None:
        try:
            results.append(numbers(await take(capture, 5)))
        except anyio.ClosedResourceError:
            results.append("closed")

    async with anyio.create_task_group() as tasks:
        reused = 0
        for number in range(5):
            old = await open_live(veth.near)
            descriptor = old.fileno()
            tasks.start_soon(wait, old)
            await wait_all_tasks_blocked()
            await old.aclose()
            async with await open_live(veth.near) as new:
                reused += new.fileno() == descriptor
                tasks.start_soon(wait, new)
                await wait_all_tasks_blocked()
                await old.aclose()
                with pytest.raises(anyio.ClosedResourceError):
                    await old.receive()
                veth.send(numbered(5, start=number))
                with anyio.fail_after(PATIENCE):
                    while len(results) < 2 * (number + 1):
                        await anyio.lowlevel.checkpoint()
    assert reused > 0
    assert results == [
        result for number in range(5) for result in ("closed", list(range(number, number + 5)))
    ]
