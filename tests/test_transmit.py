"""What a send queue puts on the wire, by what the peer received and the kernel counted."""

from __future__ import annotations

import itertools
import time
import warnings
from typing import Any

import anyio
import pytest

from aiopcap import LinkType, Packet, PcapWarning, SendQueue, TransmitReport

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import PATIENCE
from .support_queues import cut, queue_of, sending

pytestmark = [pytest.mark.anyio, pytest.mark.net]

SIZES = [14, 60, 61, 590, 1514]
FRAMES = [data for size in SIZES for data in numbered(30, max(size, 22))] + [frame()[:14]]


@pytest.mark.parametrize(
    "options", [{}, {"pps": 1e6}, {"sync": True}], ids=["at once", "even", "sync"]
)
async def test_everything_is_sent_in_order_byte_for_byte(
    veth: Veth, options: dict[str, Any]
) -> None:
    queue = queue_of(*FRAMES)
    nbytes = sum(map(len, FRAMES))
    async with sending(veth) as (capture, peer):
        begun = time.monotonic()
        report = await queue.transmit(capture, **options)
        assert 0 < report.elapsed < time.monotonic() - begun
        assert peer.count == report.packets == len(FRAMES)
        assert peer.datas(len(FRAMES)) == FRAMES
    assert report.nbytes == nbytes
    assert report.queue_nbytes == nbytes + 16 * len(FRAMES) == queue.queue_nbytes
    assert (report.truncated, report.passes, report.next_index) == (0, 1, 0)
    assert report.packets_per_second == report.packets / report.elapsed
    assert report.bits_per_second == 8 * report.nbytes / report.elapsed
    assert queue.last_report == report


async def test_many_thousands_are_sent_in_order(veth: Veth) -> None:
    frames = numbered(20_000)
    queue = queue_of(*frames)
    async with sending(veth) as (capture, peer):
        report = await queue.transmit(capture)
        assert peer.count == report.packets == 20_000
        assert peer.datas(20_000) == frames


async def test_a_queue_can_be_sent_again_and_grow_between(veth: Veth) -> None:
    queue = queue_of(*numbered(3))
    async with sending(veth) as (capture, peer):
        first = await queue.transmit(capture)
        queue.append(numbered(1, start=3)[0])
        second = await queue.transmit(capture)
        assert (first.packets, second.packets, peer.count) == (3, 4, 7)
        assert peer.datas(7) == numbered(3) + numbered(4)
    assert len(queue) == 4


@pytest.mark.parametrize("options", [{}, {"sync": True}], ids=["at once", "sync"])
async def test_passes_start_and_limit(veth: Veth, options: dict[str, Any]) -> None:
    frames = numbered(5)
    queue = queue_of(*frames)
    async with sending(veth) as (capture, peer):
        report = await queue.transmit(capture, loop=3, **options)
        assert (report.packets, report.passes, report.next_index) == (15, 3, 0)
        assert peer.datas(15) == frames * 3
        report = await queue.transmit(capture, start=3, **options)
        assert (report.packets, report.passes, report.next_index) == (2, 1, 0)
        assert peer.datas(2) == frames[3:]
        report = await queue.transmit(capture, start=4, loop=2, **options)
        assert (report.packets, report.passes) == (6, 2)
        assert peer.datas(6) == [frames[4], *frames]
        report = await queue.transmit(capture, loop=None, limit=7, **options)
        assert (report.packets, report.passes, report.next_index) == (7, 1, 2)
        assert peer.datas(7) == (frames * 2)[:7]
        report = await queue.transmit(capture, start=1, limit=2, **options)
        assert (report.packets, report.passes, report.next_index) == (2, 0, 3)
        assert peer.datas(2) == frames[1:3]
        assert peer.count == 15 + 2 + 6 + 7 + 2


async def test_a_start_at_the_end_leaves_the_other_passes(veth: Veth) -> None:
    frames = numbered(3)
    queue = queue_of(*frames)
    async with sending(veth) as (capture, peer):
        report = await queue.transmit(capture, start=3)
        assert (report.packets, peer.count) == (0, 0)
        report = await queue.transmit(capture, start=3, loop=2)
        assert (report.packets, peer.count) == (3, 3)
        queue.append(cut(3))
        await queue.transmit(capture, start=3, loop=2)
        assert peer.count == 6
        assert peer.datas(6) == frames * 2


async def test_an_empty_queue_is_sent_at_once(veth: Veth) -> None:
    ways: list[dict[str, Any]] = [{}, {"sync": True}, {"pps": 10.0}]
    async with sending(veth) as (capture, peer):
        for loop, options in itertools.product([1, 3, None], ways):
            with anyio.fail_after(PATIENCE):
                report = await SendQueue().transmit(capture, loop=loop, **options)
            assert (report.packets, report.nbytes, report.queue_nbytes) == (0, 0, 0)
            assert (report.elapsed, report.packets_per_second, report.bits_per_second) == (0, 0, 0)
        assert peer.count == 0


def test_a_queue_that_was_not_sent_has_no_report() -> None:
    queue = SendQueue()
    assert queue.last_report is None
    assert TransmitReport(packets=2, nbytes=120).queue_nbytes == 152


@pytest.mark.parametrize("options", [{}, {"pps": 1e5}], ids=["at once", "even"])
async def test_packets_that_were_cut_are_left_out(veth: Veth, options: dict[str, Any]) -> None:
    sound = numbered(3)
    queue = queue_of(cut(10), sound[0], cut(11), cut(12), sound[1], sound[2], cut(13))
    async with sending(veth) as (capture, peer):
        report = await queue.transmit(capture, **options)
        assert (report.packets, report.nbytes, report.truncated) == (3, 180, 4)
        assert (report.passes, report.next_index) == (1, 0)
        assert (peer.count, peer.datas(3)) == (3, sound)
        report = await queue.transmit(capture, send_truncated=True, **options)
        assert (report.packets, report.truncated) == (7, 0)
        assert peer.datas(7) == [packet.data for packet in queue]
        report = await queue.transmit(capture, loop=2, **options)
        assert (report.packets, report.truncated) == (6, 8)
        assert peer.count == 3 + 7 + 6


async def test_another_link_type_warns_of_both(veth: Veth) -> None:
    queue = queue_of(Packet(frame(), linktype=LinkType.LINUX_SLL))
    async with sending(veth) as (capture, peer):
        with pytest.warns(PcapWarning, match=r"LINUX_SLL.*EN10MB") as caught:
            report = await queue.transmit(capture)
        assert len(caught) == 1
        # The warning points at the line of the user's that it is about.
        assert caught[0].filename == __file__
        assert report.packets == peer.count == 1
        with pytest.raises(PcapWarning):  # as warnings are errors here
            await queue.transmit(capture)
        assert peer.count == 1


async def test_link_types_may_be_mixed(veth: Veth) -> None:
    kinds = [LinkType.EN10MB, None, LinkType.RAW, LinkType(4711), LinkType.EN10MB, LinkType.RAW]
    frames = numbered(len(kinds))
    queue = queue_of(*(Packet(d, linktype=kind) for d, kind in zip(frames, kinds, strict=True)))
    async with sending(veth) as (capture, peer):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await queue.transmit(capture)
        texts = sorted(str(warning.message) for warning in caught)
        assert len(texts) == 2
        assert "RAW" in texts[0]
        assert "4711" in texts[1]
        assert peer.datas(len(frames)) == frames
