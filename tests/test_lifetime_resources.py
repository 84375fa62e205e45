"""What captures leave behind: nothing, whether they are closed or forgotten."""

from __future__ import annotations

import gc
import warnings

import anyio
import pytest

from aiopcap import open_live

from .support.frames import frame, numbered
from .support.resources import open_descriptors, resources
from .support.veth import Veth
from .support_live import numbers, take

pytestmark = pytest.mark.anyio


async def test_an_unclosed_capture_is_freed_with_a_warning(veth: Veth) -> None:
    capture = await open_live(veth.near)
    socket = open_descriptors()[capture.fileno()]
    veth.send(frame())
    await take(capture, 1)
    mappings = resources().mappings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del capture
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert veth.near in str(caught[0].message)
    assert socket not in open_descriptors().values()
    assert resources().mappings < mappings


async def test_a_loop_that_was_left_leaves_no_warning(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(10))
        for expected in range(10):
            async for packet in capture:
                assert numbers([packet]) == [expected]
                break
            gc.collect()


@pytest.mark.memory
async def test_many_captures_leave_nothing_behind(veth: Veth) -> None:
    async def use() -> None:
        async with await open_live(veth.near, filter="ether proto 0x88b5") as capture:
            veth.send(numbered(3))
            await take(capture, 2)

    async def use_ten() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(use)

    for _ in range(2):
        await use_ten()
    before = resources()
    for _ in range(20):
        await use_ten()
    after = resources()
    assert after.descriptors <= before.descriptors
    # A worker thread more or less has a stack and an arena of its own.
    assert after.mappings - before.mappings < 30
    assert after.resident_bytes - before.resident_bytes < 8 * 2**20
