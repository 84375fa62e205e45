"""Links that go down and devices that go away, with and without packets on the way."""

from __future__ import annotations

import time
import traceback
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live

from .support.frames import numbered
from .support.veth import Veth
from .support_live import PATIENCE, numbers, take, until

pytestmark = pytest.mark.anyio


async def _collect(capture: aiopcap.LiveCapture, seen: list[int]) -> None:
    async for packet in capture:
        seen += numbers([packet])


async def _until_gone(capture: aiopcap.LiveCapture) -> list[int]:
    """Read until the device is gone, and return the packets' numbers."""
    seen: list[int] = []
    with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.InterfaceGoneError, match="disappeared"):
        await _collect(capture, seen)
    return seen


@pytest.mark.parametrize("immediate", [False, True])
async def test_a_capture_goes_on_when_the_link_is_up_again(veth: Veth, immediate: bool) -> None:
    seen: list[int] = []
    async with (
        await open_live(veth.near, immediate=immediate) as capture,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_collect, capture, seen)
        for number in range(2):
            await wait_all_tasks_blocked()
            veth.send(numbered(10, start=10 * number))
            await until(lambda: len(seen) == 10 * (number + 1))  # noqa: B023 - called at once
            veth.set_link(False)
            # Long enough to be noticed, and for several of the reader's own timeouts.
            with anyio.move_on_after(0.3):
                await anyio.sleep_forever()
            veth.set_link(True)
        veth.send(numbered(10, start=20))
        await until(lambda: len(seen) == 30)
        tasks.cancel_scope.cancel()
    assert seen == list(range(30))


async def test_packets_that_came_before_the_link_went_down_are_delivered(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(5))
        veth.set_link(False)
        assert numbers(await take(capture, 5)) == list(range(5))
        with anyio.move_on_after(0.1) as scope:
            await capture.receive()
        assert scope.cancelled_caught
        veth.set_link(True)
        veth.send(numbered(5, start=5))
        assert numbers(await take(capture, 5)) == list(range(5, 10))


async def test_the_other_end_without_a_carrier_is_no_fault(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.set_link(False, "far")
        with anyio.move_on_after(0.1) as scope:
            await capture.receive()
        assert scope.cancelled_caught
        veth.set_link(True, "far")
        veth.send(numbered(5))
        assert numbers(await take(capture, 5)) == list(range(5))


@pytest.mark.parametrize(
    "options",
    [{}, {"immediate": True}, {"buffer_timeout": 0.5}, {"promisc": False, "filter": "less 100"}],
    ids=["default", "immediate", "long timeout", "filter"],
)
async def test_unread_packets_of_a_deleted_device_come_before_the_error(
    veth: Veth, options: dict[str, Any]
) -> None:
    async with await open_live(veth.near, **options) as capture:
        veth.send(numbered(5))
        veth.delete()
        deleted = time.perf_counter()
        assert await _until_gone(capture) == list(range(5))
        assert time.perf_counter() - deleted < 1
        for _ in range(2):
            with pytest.raises(aiopcap.InterfaceGoneError):
                await capture.receive()
            with pytest.raises(aiopcap.InterfaceGoneError):
                await capture.receive_batch()
            with pytest.raises(aiopcap.InterfaceGoneError):
                capture.receive_nowait()
        await capture.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await capture.receive()


async def test_batches_end_with_the_error_too(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(5))
        veth.delete()
        seen: list[int] = []

        async def collect() -> None:
            async for batch in capture.batches(max_packets=2):
                seen.extend(numbers(list(batch)))

        with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.InterfaceGoneError):
            await collect()
        assert seen == list(range(5))


@pytest.mark.parametrize(
    ("state", "immediate"),
    [
        ("up", False),
        ("up", True),
        ("down", False),
        ("down", True),
        ("down for long", False),
        ("without carrier", False),
    ],
)
async def test_the_end_of_a_device_is_noticed_while_nothing_comes(
    veth: Veth, state: str, immediate: bool
) -> None:
    noticed = 0.0

    async def wait() -> None:
        nonlocal noticed
        assert await _until_gone(capture) == []
        noticed = time.perf_counter()

    async with await open_live(veth.near, immediate=immediate) as capture:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await wait_all_tasks_blocked()
            if state == "without carrier":
                veth.set_link(False, "far")
            elif state != "up":
                veth.set_link(False)
            if state == "down for long":
                with anyio.move_on_after(0.3):
                    await anyio.sleep_forever()
            veth.delete()
            deleted = time.perf_counter()
        assert noticed - deleted < 1


@pytest.mark.parametrize("options", [{"immediate": True}, {}], ids=["immediate", "default"])
async def test_the_end_of_an_idle_device_is_noticed_whatever_the_buffer_timeout(
    veth: Veth, options: dict[str, Any]
) -> None:
    async with await open_live(veth.near, buffer_timeout=3, **options) as capture:
        veth.delete()
        deleted = time.perf_counter()
        assert await _until_gone(capture) == []
        assert time.perf_counter() - deleted < 1


async def test_a_device_deleted_between_two_reads_is_noticed(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(1))
        assert numbers(await take(capture, 1)) == [0]
        veth.delete()
        assert await _until_gone(capture) == []


async def test_a_device_of_the_same_name_is_another_device(veth: Veth) -> None:
    async with await open_live(veth.near) as old:
        veth.delete()
        veth.create()
        assert await _until_gone(old) == []
        async with await open_live(veth.near) as new:
            veth.send(numbered(5))
            assert numbers(await take(new, 5)) == list(range(5))
        with pytest.raises(aiopcap.InterfaceGoneError):
            await old.receive()


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_filter_can_be_set_while_the_link_is_down(veth: Veth, noticed: bool) -> None:
    async with await open_live(veth.near, filter="less 100") as capture:
        veth.send(numbered(2))
        veth.set_link(False)
        if noticed:
            assert numbers(await take(capture, 2)) == [0, 1]
            with anyio.move_on_after(0.05):
                await capture.receive()
        await capture.set_filter("greater 100")
        assert str(capture.filter) == "greater 100"
        veth.set_link(True)
        veth.send(numbered(5, 60) + numbered(5, 200, start=5))
        assert numbers(await take(capture, 5)) == list(range(5, 10))


async def test_a_filter_set_while_the_link_is_down_hides_no_removal(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.set_link(False)
        await capture.set_filter("greater 100")
        veth.delete()
        deleted = time.perf_counter()
        assert await _until_gone(capture) == []
        assert time.perf_counter() - deleted < 1


async def test_asking_a_dead_capture_again_and_again_keeps_the_error_small(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.delete()
        await _until_gone(capture)
        lengths = set()
        for _ in range(50):
            with pytest.raises(aiopcap.InterfaceGoneError) as caught:
                await capture.receive()
            lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
            assert caught.value.__cause__ is None
        assert max(lengths) < 30


async def test_a_dead_capture_can_be_asked_and_closed(veth: Veth) -> None:
    capture = await open_live(veth.near, filter="udp")
    veth.delete()
    await _until_gone(capture)
    assert capture.device == veth.near
    assert capture.statistics().received == 0
    assert capture.datalinks()
    assert capture.fileno() > 0
    await capture.aclose()
    await capture.aclose()
