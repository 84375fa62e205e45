"""Devices that go away and links that go down under a sender, with and without a reader beside."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import to_thread

import aiopcap
from aiopcap import InterfaceDownError, InterfaceGoneError, open_live

from .support.frames import numbered
from .support.veth import Veth
from .support_live import PATIENCE, numbers, until
from .support_send import METHODS, Gate, fill, listening, only, queue_of, settle, until_sending

pytestmark = pytest.mark.anyio

# Five frames at once, and five after a while.
GAP = 0.25
FRAMES = numbered(10)


def _queue_with_gap(seconds: float = GAP) -> aiopcap.SendQueue:
    return queue_of(FRAMES, [0, 0, 0, 0, seconds])


class Reader:
    """What a task reads until the device is gone, and when it noticed."""

    def __init__(self, capture: aiopcap.LiveCapture) -> None:
        self._capture = capture
        self.seen: list[int] = []
        self.gone_at = 0.0

    async def __call__(self) -> None:
        with (
            anyio.fail_after(PATIENCE),
            pytest.raises(InterfaceGoneError, match="disappeared"),
        ):
            await self._read()
        self.gone_at = time.perf_counter()

    async def _read(self) -> None:
        async for packet in self._capture:
            self.seen += numbers([packet])


def _take_the_kernels_word(capture: aiopcap.LiveCapture) -> None:
    """Take what the kernel says of a link once for each socket, as sending does at bad moments."""
    fd = os.dup(capture.fileno())
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, fileno=fd) as same:
        assert same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENETDOWN
        assert same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def _failure(sending: Awaitable[object]) -> aiopcap.SendError:
    with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.SendError) as caught:
        await sending
    return caught.value


@pytest.mark.parametrize("read", [True, False], ids=["with a reader", "alone"])
async def test_deleted_between_two_packets_of_a_schedule(veth: Veth, read: bool) -> None:
    queue = _queue_with_gap()
    deleted = 0.0

    async def pull_out() -> None:
        nonlocal deleted
        assert await far.frames(5) == FRAMES[:5]
        veth.delete()
        deleted = time.perf_counter()

    async with await open_live(veth.near) as capture:
        reader = Reader(capture)
        with listening(veth) as far:
            async with anyio.create_task_group() as tasks:
                if read:
                    tasks.start_soon(reader)
                tasks.start_soon(pull_out)
                error = await _failure(queue.transmit(capture, sync=True))
        assert (error.index, error.packets, error.nbytes) == (5, 5, 300)
        assert isinstance(error.__cause__, InterfaceGoneError)
        report = queue.last_report
        assert report is not None
        assert (report.packets, report.nbytes, report.next_index) == (5, 300, 5)
    if read:
        assert reader.gone_at - deleted < 1


@pytest.mark.parametrize("way", ["top speed", "paced"])
async def test_deleted_while_packets_go_out_round_and_round(veth: Veth, way: str) -> None:
    queue = queue_of(numbered(700))
    pps = None if way == "top speed" else 5000.0
    deleted = 0.0

    async def pull_out() -> None:
        nonlocal deleted
        await until(lambda: far.counted() > 1000)
        await to_thread.run_sync(veth.delete)
        deleted = time.perf_counter()

    async with await open_live(veth.near) as capture:
        reader = Reader(capture)
        with listening(veth) as far:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader)
                tasks.start_soon(pull_out)
                error = await _failure(queue.transmit(capture, loop=None, pps=pps))
            counted = far.statistics()
    assert reader.gone_at - deleted < 1
    assert isinstance(error.__cause__, InterfaceGoneError | InterfaceDownError)
    report = queue.last_report
    assert report is not None
    assert error.packets == report.packets == 700 * report.passes + report.next_index
    assert error.index == report.next_index
    assert error.nbytes == report.nbytes == 60 * report.packets
    # A device that is on its way out still takes frames, and they get lost.
    assert 1000 < counted <= error.packets


@pytest.mark.parametrize("waiting", [True, False], ids=["who waits", "who comes later"])
async def test_a_reader_learns_of_a_device_that_the_sender_found_gone(
    veth: Veth, waiting: bool
) -> None:
    for method in (METHODS["send_nowait"], METHODS["transmit"]):
        async with await open_live(veth.near) as capture:
            reader = Reader(capture)
            async with anyio.create_task_group() as tasks:
                if waiting:
                    tasks.start_soon(reader)
                    await settle()
                veth.delete()
                deleted = time.perf_counter()
                _take_the_kernels_word(capture)
                with pytest.raises(aiopcap.PcapError, match="removed"):
                    await only(method(capture, FRAMES[0]))
                if not waiting:
                    tasks.start_soon(reader)
            assert reader.gone_at - deleted < 1
        veth.create()


@pytest.mark.parametrize(("method", "end"), [("send_nowait", "up"), ("transmit", "gone")])
async def test_a_reader_goes_on_when_the_sender_found_the_link_down(
    veth: Veth, method: str, end: str
) -> None:
    async with await open_live(veth.near) as capture:
        reader = Reader(capture)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            await settle()
            for number in range(3):
                veth.set_link(False)
                if number == 0 or end == "up":
                    _take_the_kernels_word(capture)
                with pytest.raises(aiopcap.PcapError, match="down"):
                    await only(METHODS[method](capture, FRAMES[0]))
                if end == "up":
                    veth.set_link(True)
                    await only(METHODS[method](capture, FRAMES[0]))
                    veth.send(FRAMES[number])
                    await until(lambda: len(reader.seen) > number)  # noqa: B023 - called at once
            veth.delete()
            deleted = time.perf_counter()
        assert reader.gone_at - deleted < 1
        assert reader.seen == (list(range(3)) if end == "up" else [])


@pytest.mark.parametrize("stays", ["down", "up again"])
async def test_the_link_goes_down_between_two_packets_of_a_schedule(veth: Veth, stays: str) -> None:
    queue = _queue_with_gap(GAP if stays == "down" else 2 * GAP)

    async def pull() -> None:
        assert await far.frames(5) == FRAMES[:5]
        veth.set_link(False)
        if stays == "up again":
            await settle()
            veth.set_link(True)

    async with await open_live(veth.near) as capture:
        reader = Reader(capture)
        with listening(veth) as far:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader)
                tasks.start_soon(pull)
                if stays == "down":
                    error = await _failure(queue.transmit(capture, sync=True))
                    assert (error.index, error.packets, error.nbytes) == (5, 5, 300)
                    assert isinstance(error.__cause__, InterfaceDownError)
                    veth.set_link(True)
                    # What is left goes out when it is up, and who reads goes on.
                    await queue.transmit(capture, start=error.index)
                else:
                    await queue.transmit(capture, sync=True)
                assert await far.everything() == FRAMES[5:]
                veth.send(FRAMES[7])
                await until(lambda: 7 in reader.seen)
                veth.delete()


@pytest.mark.parametrize("limit", [4000, 10_000_000], ids=["queue", "buffer"])
@pytest.mark.parametrize("fault", ["gone", "down"])
async def test_the_device_goes_while_a_sender_waits_for_room(
    veth: Veth, limit: int, fault: str
) -> None:
    gate = Gate(veth)
    expected = InterfaceGoneError if fault == "gone" else InterfaceDownError
    act: Callable[[], Any] = veth.delete if fault == "gone" else lambda: veth.set_link(False)
    async with await open_live(veth.near) as capture:
        gate.shut(limit)
        sent = fill(capture, 60 if limit == 4000 else 1514)

        async def send() -> None:
            with pytest.raises(expected):
                await capture.send(sent[0])

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await until_sending(capture)
                act()
                begun = time.perf_counter()
            assert time.perf_counter() - begun < 1
