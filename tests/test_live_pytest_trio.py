"""As somebody writes tests who knows trio alone: its nurseries, channels, timeouts and fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_trio  # type: ignore[import-untyped]
import trio
import trio.testing

import aiopcap

from .support.frames import number_of, numbered
from .support.veth import Veth

pytestmark = [pytest.mark.trio, pytest.mark.net]


@pytest_trio.trio_fixture  # type: ignore[untyped-decorator]
async def capture(veth: Veth) -> AsyncIterator[aiopcap.LiveCapture]:
    async with await aiopcap.open_live(veth.near) as opened:
        yield opened


async def test_packets_arrive(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    veth.send(numbered(10))
    seen = []
    with trio.fail_after(5):
        async for packet in capture:
            seen.append(number_of(packet.data))
            if len(seen) == 10:
                break
    assert seen == list(range(10))


async def test_a_timeout_ends_the_wait(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    with trio.move_on_after(0.02) as scope:
        await capture.receive()
    assert scope.cancelled_caught
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.02):
        await capture.receive()
    veth.send(numbered(1))
    with trio.fail_after(5):
        assert number_of((await capture.receive()).data) == 0


async def test_a_task_hands_packets_on(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    send_channel, receive_channel = trio.open_memory_channel[int](0)

    async def hand_on(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with send_channel:
            async for packet in capture:
                await send_channel.send(number_of(packet.data))

    async with trio.open_nursery() as nursery:
        await nursery.start(hand_on)
        veth.send(numbered(50))
        with trio.fail_after(5):
            assert [await receive_channel.receive() for _ in range(50)] == list(range(50))
        nursery.cancel_scope.cancel()


async def test_closing_wakes_the_reader(capture: aiopcap.LiveCapture) -> None:
    async def read() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await capture.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(capture)  # type: ignore[arg-type]


async def test_every_wait_is_a_checkpoint(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    veth.send(numbered(20))
    with trio.fail_after(5):
        for read in (capture.receive, capture.receive_batch):
            with trio.testing.assert_checkpoints():
                await read()
        with trio.testing.assert_checkpoints():
            await capture.set_filter("udp")
        with trio.testing.assert_checkpoints():
            await capture.aclose()
        with trio.testing.assert_checkpoints():
            await capture.aclose()


async def test_opening_is_a_checkpoint(veth: Veth) -> None:
    with trio.testing.assert_checkpoints():
        opened = await aiopcap.open_live(veth.near)
    await opened.aclose()
    with trio.testing.assert_checkpoints():
        await aiopcap.findalldevs()


async def test_a_nursery_may_close_and_read_at_once(veth: Veth) -> None:
    with trio.fail_after(5):
        for _ in range(5):
            opened = await aiopcap.open_live(veth.near)
            with pytest.RaisesGroup(anyio.ClosedResourceError):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(opened.aclose)
                    nursery.start_soon(opened.receive)


async def test_a_jump_of_the_clock_ends_the_wait(
    capture: aiopcap.LiveCapture, autojump_clock: trio.testing.MockClock
) -> None:
    """Tests with a clock of their own need not wait for timeouts."""
    begun = trio.current_time()
    with trio.move_on_after(3600) as scope:
        await capture.receive()
    assert scope.cancelled_caught
    assert trio.current_time() - begun >= 3600
