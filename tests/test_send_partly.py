"""A frame among many that cannot be sent: those before it are on the wire, once, and no other."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import aiopcap
from aiopcap import Packet, open_live, open_offline

from .support.frames import frame, numbered
from .support.pcapfiles import pcap_bytes, records
from .support.veth import Veth
from .support_send import listening, queue_of

pytestmark = pytest.mark.anyio

Many = Callable[[aiopcap.LiveCapture, list[bytes]], Any]


async def _send_batch_of_a_file(capture: aiopcap.LiveCapture, frames: list[bytes]) -> None:
    async with await open_offline(pcap_bytes(records(frames))) as file:
        batch = await file.receive_batch()
    assert len(batch) == len(frames)
    await capture.send_batch(batch)


async def _replay(capture: aiopcap.LiveCapture, frames: list[bytes]) -> None:
    await aiopcap.replay(pcap_bytes(records(frames)), capture)


MANY: dict[str, Many] = {
    "send_batch": lambda capture, frames: capture.send_batch(frames),
    "send_batch of a PacketBatch": _send_batch_of_a_file,
    "transmit": lambda capture, frames: queue_of(frames).transmit(capture),
    "transmit paced": lambda capture, frames: queue_of(frames).transmit(capture, pps=1e6),
    "transmit by time stamps": lambda capture, frames: queue_of(frames).transmit(
        capture, sync=True
    ),
    "replay": _replay,
}


@pytest.mark.parametrize("way", MANY)
async def test_a_bad_frame_in_the_middle(veth: Veth, way: str) -> None:
    good = numbered(1100, 100)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            # Around what one system call takes, and the first and the last.
            for index in (0, 1, 511, 512, 513, 700, 1100):
                bad = frame(size=1515) if index % 2 else bytes(13)
                frames = [*good[:index], bad, *good[index:]]
                with pytest.raises(aiopcap.SendError) as caught:
                    await MANY[way](capture, frames)
                error, cause = caught.value, caught.value.__cause__
                assert (error.index, error.packets, error.nbytes) == (index, index, 100 * index)
                assert isinstance(cause, aiopcap.FrameSizeError)
                assert cause.size == len(bad)
                assert f"packet {index}" in str(error)
                assert str(cause) in str(error)
                assert await far.everything() == good[:index]


async def test_an_empty_frame_in_the_middle(veth: Veth) -> None:
    good = numbered(20)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for send in MANY.values():
                with pytest.raises(aiopcap.SendError) as caught:
                    await send(capture, [*good[:10], b"", *good[10:]])
                error = caught.value
                assert (error.index, error.packets, error.nbytes) == (10, 10, 600)
                assert isinstance(error.__cause__, aiopcap.FrameSizeError)
                assert error.__cause__.size == 0
                assert await far.everything() == good[:10]


async def test_the_index_counts_what_was_left_out_and_the_packets_do_not(veth: Veth) -> None:
    cut = Packet(frame(), wire_length=100)
    queue = aiopcap.SendQueue()
    queue.extend([cut, *numbered(5), cut, cut, *numbered(5, start=5), bytes(5), frame()])
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            with pytest.raises(aiopcap.SendError) as caught:
                await queue.transmit(capture)
            assert (caught.value.index, caught.value.packets, caught.value.nbytes) == (13, 10, 600)
            report = queue.last_report
            assert report is not None
            assert (report.packets, report.nbytes, report.truncated) == (10, 600, 3)
            assert report.next_index == 13
            assert await far.everything() == numbered(10)


async def test_the_rest_can_be_sent_after_the_bad_one(veth: Veth) -> None:
    queue = queue_of([*numbered(600), bytes(3), *numbered(600, start=600)])
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            with pytest.raises(aiopcap.SendError) as caught:
                await queue.transmit(capture)
            report = await queue.transmit(capture, start=caught.value.index + 1)
            assert report.packets == 600
            assert await far.everything() == numbered(1200)


async def test_in_a_later_pass_the_index_is_that_in_the_queue(veth: Veth) -> None:
    # The device takes it in the first pass and not in the second.
    queue = queue_of([*numbered(3), frame(size=1514), frame()])
    changed = False

    def change(report: aiopcap.TransmitReport) -> None:
        nonlocal changed
        if not changed and report.passes == 1:
            changed = True
            veth.set_mtu(1000)

    async with await open_live(veth.near) as capture:
        before = veth.counters().rx_packets
        with pytest.raises(aiopcap.SendError) as caught:
            # Every packet's time is so far away that the event loop has its turn.
            await queue.transmit(
                capture, pps=25, loop=None, progress=change, progress_interval=0.001
            )
        error, report = caught.value, queue.last_report
        assert report is not None
        assert error.index == report.next_index == 3
        assert report.passes >= 1
        assert error.packets == report.packets == 5 * report.passes + 3
        assert error.nbytes == report.nbytes == report.passes * (4 * 60 + 1514) + 3 * 60
        assert veth.counters().rx_packets - before == error.packets
        assert isinstance(error.__cause__, aiopcap.FrameSizeError)


async def test_the_device_goes_down_between_two_frames(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            await capture.send_batch(numbered(5))
            veth.set_link(False)
            with pytest.raises(aiopcap.SendError) as caught:
                await capture.send_batch(numbered(5, start=5))
            assert (caught.value.index, caught.value.packets, caught.value.nbytes) == (0, 0, 0)
            assert isinstance(caught.value.__cause__, aiopcap.InterfaceDownError)
            assert await far.frames(5) == numbered(5)
            assert far.counted() == 5


def test_the_errors_can_be_copied_and_pickled() -> None:
    error = aiopcap.SendError("packet 3: too long", 3, 2, 120)
    size = aiopcap.FrameSizeError("too long", 1515)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (again.index, again.packets, again.nbytes) == (3, 2, 120)
        assert str(again) == str(error)
    for copied in (copy.copy(size), pickle.loads(pickle.dumps(size))):
        assert (copied.size, str(copied)) == (1515, "too long")
