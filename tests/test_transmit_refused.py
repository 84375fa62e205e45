"""What a transmit does not do: options that make no sense, packets that do not fit, two at once."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import SendError

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import PATIENCE, until
from .support_queues import MS, queue_of, sending, spaced

pytestmark = [pytest.mark.anyio, pytest.mark.net]


async def test_an_error_in_a_later_pass_says_where(veth: Veth) -> None:
    frames = [*numbered(2), *numbered(1, 1200, start=2), *numbered(1, start=3)]
    queue = queue_of(*frames)
    async with sending(veth) as (capture, peer), anyio.create_task_group() as tasks:

        async def shrink() -> None:
            await until(lambda: peer.count > 4)
            veth.set_mtu(1000)

        tasks.start_soon(shrink)
        with pytest.raises(SendError, match="1200") as caught, anyio.fail_after(PATIENCE):
            await queue.transmit(capture, pps=100, loop=None)
        error, report = caught.value, queue.last_report
        assert report is not None
        assert report.passes > 0
        assert error.index == report.next_index == 2
        assert error.packets == report.packets == peer.count == 4 * report.passes + 2
        assert error.nbytes == report.nbytes == (1200 + 180) * report.passes + 120


@pytest.mark.parametrize("sync", [False, True])
async def test_an_error_stops_there(veth: Veth, sync: bool) -> None:
    frames = [*numbered(700), bytes(1515), *numbered(5)]
    queue = queue_of(*frames)
    async with sending(veth) as (capture, peer):
        with pytest.raises(SendError, match="1515") as caught:
            await queue.transmit(capture, sync=sync)
        error = caught.value
        assert (error.index, error.packets, error.nbytes) == (700, 700, 42_000)
        assert isinstance(error.__cause__, aiopcap.FrameSizeError)
        assert queue.last_report is not None
        assert (queue.last_report.packets, queue.last_report.next_index) == (700, 700)
        assert (peer.count, peer.datas(700)) == (700, frames[:700])
        report = await queue.transmit(capture, start=701, sync=sync)
        assert (report.packets, peer.datas(5)) == (5, frames[701:])


async def test_disorder_can_be_refused(veth: Veth) -> None:
    queue = spaced([10, 20, 20, 19, 30])
    async with sending(veth) as (capture, peer):
        with pytest.raises(ValueError, match=r"\b3\b"):
            await queue.transmit(capture, sync=True, on_disorder="refuse")
        assert peer.count == 0
        report = await queue.transmit(capture, sync=True, on_disorder="refuse", start=3)
        assert report.packets == 2
        # Where time stamps are not used, they are not looked at either.
        assert (await queue.transmit(capture, on_disorder="refuse")).packets == 5
    far = spaced([*range(5000), 4999, 4998])
    async with sending(veth) as (capture, peer):
        with pytest.raises(ValueError, match=r"\b5001\b"):
            await far.transmit(capture, sync=True, on_disorder="refuse")
        assert peer.count == 0


SENSELESS: list[dict[str, Any]] = [
    *({"sync": True, "speed": speed} for speed in (0, -1, math.nan, math.inf)),
    *({"pps": rate} for rate in (0, -1, math.nan, math.inf)),
    *({"bits_per_second": rate} for rate in (0, -1, math.nan, math.inf)),
    {"sync": True, "pps": 1},
    {"sync": True, "bits_per_second": 1},
    {"pps": 1, "bits_per_second": 1},
    {"speed": 2.0},
    {"speed": 2.0, "pps": 1},
    {"loop": 0},
    {"loop": -1},
    {"limit": 0},
    {"start": -1},
    {"start": 3},
    {"timing": "rough"},
    {"on_disorder": "sort"},
    {"sync": True, "on_disorder": ""},
    {"progress": print, "progress_interval": -1.0},
    {"progress": print, "progress_interval": math.nan},
]


async def test_options_that_make_no_sense_are_refused(veth: Veth) -> None:
    queue = queue_of(*numbered(2))
    async with sending(veth) as (capture, peer):
        for options in SENSELESS:
            # It says which one.
            with pytest.raises(ValueError, match="|".join(options)):
                await queue.transmit(capture, **options)
        assert peer.count == 0
        with pytest.raises(TypeError):
            await queue.transmit(capture, loop=1.5)  # type: ignore[arg-type]
        # Nothing is left of it: neither the queue nor the capture is busy.
        queue.append(frame())
        assert (await queue.transmit(capture)).packets == peer.count == 3


async def test_one_queue_goes_out_on_two_captures_at_once(veth: Veth) -> None:
    queue = spaced([0, 30 * MS, 60 * MS])
    async with sending(veth) as (capture, peer):
        async with (
            await aiopcap.open_live(veth.near) as other,
            anyio.create_task_group() as tasks,
        ):
            for target in (capture, other):
                tasks.start_soon(partial(queue.transmit, target, sync=True))
            await peer.first()
            with pytest.raises(anyio.BusyResourceError):
                queue.append(frame())
        datas = peer.datas(6)
        assert peer.count == 6
    assert sorted(datas) == sorted(numbered(3) * 2)
    queue.append(frame())


async def test_a_capture_sends_one_queue_at_a_time(veth: Veth) -> None:
    long, short = spaced([0, 3_600_000 * MS]), queue_of(frame())
    async with sending(veth) as (capture, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: long.transmit(capture, sync=True))
        await peer.first()
        with pytest.raises(anyio.BusyResourceError):
            await short.transmit(capture)
        tasks.cancel_scope.cancel()
    async with sending(veth) as (capture, peer):
        assert (await short.transmit(capture)).packets == peer.count == 1
