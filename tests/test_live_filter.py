"""Filters of live captures, set at the open and while packets come."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import LinkType, open_live

from .support.frames import frame, number_of, numbered, udp_frame
from .support.veth import Veth
from .support_live import PATIENCE, arrived, collect, end, numbers, take, until

pytestmark = pytest.mark.anyio

LONG = [frame(number.to_bytes(8, "big"), size=200) for number in range(10)]
SHORT = [frame(number.to_bytes(8, "big"), size=60) for number in range(100, 110)]
MIXED = [data for pair in zip(LONG, SHORT, strict=True) for data in pair]


async def test_only_matching_packets_come(veth: Veth) -> None:
    async with await open_live(veth.near, filter="greater 100") as capture:
        assert capture.filter is not None
        assert capture.filter.expression == "greater 100"
        veth.send([*MIXED, end(200)])
        assert await collect(capture, 999) == list(range(10))


async def test_a_compiled_filter_will_do(veth: Veth) -> None:
    program = aiopcap.compile("udp port 53")
    async with await open_live(veth.near, filter=program) as capture:
        veth.send([udp_frame(destination_port=54), frame(), udp_frame(destination_port=53)])
        (packet,) = await take(capture, 1)
        assert packet.data == udp_frame(destination_port=53)
        assert capture.filter is not None
        assert str(capture.filter) == "udp port 53"


async def test_a_filter_compiled_for_another_link_type_means_the_same(veth: Veth) -> None:
    program = aiopcap.compile("udp", linktype=LinkType.RAW)
    sent = [udp_frame(b"one"), frame(b"no"), udp_frame(b"two"), frame(b"no"), udp_frame(b"three")]
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(sent)
        await arrived(capture, 5)
        assert (await capture.receive()).data == sent[0]
        await capture.set_filter(program)
        veth.send([frame(b"no"), udp_frame(b"four")])
        packets = await take(capture, 3)
    assert [packet.data for packet in packets] == [sent[2], sent[4], udp_frame(b"four")]


async def test_a_new_filter_holds_for_packets_in_hand(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(MIXED)
        await arrived(capture, 20)
        assert numbers([await capture.receive()]) == [0]
        await capture.set_filter("greater 100")
        veth.send(end(200))
        assert await collect(capture, 999) == list(range(1, 10))


@pytest.mark.parametrize("snaplen", [262144, 65535, 100])
async def test_a_new_filter_holds_for_packets_in_the_queue(veth: Veth, snaplen: int) -> None:
    async with await open_live(veth.near, immediate=True, snaplen=snaplen) as capture:
        veth.send(MIXED)
        await arrived(capture, 20)
        await capture.set_filter("greater 100")
        veth.send(end(200))
        assert await collect(capture, 999) == list(range(10))


@pytest.mark.parametrize("link_down", [False, True])
async def test_each_new_filter_holds_for_what_the_last_one_let_through(
    veth: Veth, link_down: bool
) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(MIXED)
        await arrived(capture, 20)
        if link_down:
            veth.set_link(False)
        await capture.set_filter("greater 100")
        await capture.set_filter("less 100")
        veth.set_link(True)
        veth.send([*LONG, end(60)])
        assert not set(await collect(capture, 999)).intersection(range(10))


async def test_a_new_filter_holds_for_packets_that_a_batch_left_over(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(MIXED)
        await arrived(capture, 20)
        batches = capture.batches(max_packets=4)
        assert [number_of(packet.data) for packet in await anext(batches)] == [0, 100, 1, 101]
        await capture.set_filter("less 100")
        veth.send(end(60))
        assert await collect(capture, 999) == list(range(102, 110))


async def test_a_new_filter_holds_for_a_reader_that_waits(veth: Veth) -> None:
    seen: list[int] = []

    async def read() -> None:
        seen.extend(await collect(capture, 999))

    async with (
        await open_live(veth.near) as capture,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        await capture.set_filter("greater 100")
        veth.send(MIXED)
        await wait_all_tasks_blocked()
        await capture.set_filter("less 100")
        veth.send([*MIXED, end(60)])
    # Of the first part, what had not been read yet when the filter changed again is gone.
    assert [number for number in seen if number >= 100] == list(range(100, 110))
    first = [number for number in seen if number < 100]
    assert first == list(range(len(first)))


async def test_a_change_of_the_filter_takes_no_packet_from_a_reader_that_waits(veth: Veth) -> None:
    """The last one before the change is delivered, though no other follows that wakes anybody."""
    seen: list[int] = []
    sent = 0
    changing = True

    async def read() -> None:
        nonlocal seen
        async for packet in capture:
            seen += numbers([packet])

    async def send_at_every_turn() -> None:
        nonlocal sent
        while changing:
            veth.send(numbered(1, start=sent))
            sent += 1
            await anyio.lowlevel.checkpoint()

    async with (
        await open_live(veth.near, immediate=True, snaplen=100) as capture,
        anyio.create_task_group() as readers,
    ):
        readers.start_soon(read)
        for _ in range(30):
            async with anyio.create_task_group() as tasks:
                changing = True
                tasks.start_soon(send_at_every_turn)
                await capture.set_filter("less 100")
                changing = False
            await until(lambda: len(seen) == sent)
        readers.cancel_scope.cancel()
    assert seen == list(range(sent))


async def test_a_filter_changed_without_reading_does_not_make_room(veth: Veth) -> None:
    """What nobody reads fills the kernel's buffer, and is dropped there, not kept for ever."""
    async with await open_live(veth.near, buffer_size=4 * 1024 * 1024) as capture:
        frames = numbered(1000, 1400)
        for number in range(60):
            veth.send(frames)
            await capture.set_filter(f"greater {number}")
        await arrived(capture, 60_000)
        assert capture.statistics().dropped > 20_000


async def test_no_filter_lets_everything_pass_again(veth: Veth) -> None:
    async with await open_live(veth.near, filter="greater 100") as capture:
        await capture.set_filter(None)
        assert capture.filter is None
        veth.send([*SHORT, end(60)])
        assert await collect(capture, 999) == list(range(100, 110))


async def test_filters_follow_each_other_without_a_gap(veth: Veth) -> None:
    """Each packet passes the filters of its time and of each later one until it is received."""
    async with await open_live(veth.near, immediate=True) as capture:
        count = 0
        for first in range(0, 600, 20):
            veth.send(numbered(10, 60, start=first) + numbered(10, 200, start=first + 10))
            count += 20
            await capture.set_filter("less 100" if first % 40 else "greater 100")
            expected = range(first, first + 10) if first % 40 else range(first + 10, first + 20)
            assert numbers(await take(capture, 10)) == list(expected)
            await capture.set_filter(None)


async def test_a_wrong_filter_leaves_the_old_one_in_force(veth: Veth) -> None:
    async with await open_live(veth.near, filter="greater 100", immediate=True) as capture:
        veth.send(LONG[:5])
        await arrived(capture, 5)
        assert numbers([await capture.receive()]) == [0]
        for wrong in ("no such thing", "port 70000", "((", "greater 100 and"):
            with pytest.raises(aiopcap.FilterError) as caught:
                await capture.set_filter(wrong)
            assert str(caught.value)
        assert capture.filter is not None
        assert capture.filter.expression == "greater 100"
        veth.send([*SHORT, *LONG[5:], end(200)])
        assert await collect(capture, 999) == list(range(1, 10))


async def test_a_cancelled_change_leaves_the_old_filter_in_force(veth: Veth) -> None:
    async with await open_live(veth.near, filter="greater 100") as capture:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await capture.set_filter("less 100")
        assert scope.cancelled_caught
        assert capture.filter is not None
        assert capture.filter.expression == "greater 100"
        veth.send([*MIXED, end(200)])
        assert await collect(capture, 999) == list(range(10))


async def test_several_tasks_may_set_filters(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        async with anyio.create_task_group() as tasks:
            for limit in range(70, 90):
                tasks.start_soon(capture.set_filter, f"less {limit}")
        assert capture.filter is not None
        limit = int(capture.filter.expression.split()[1])
        sizes = range(60, 100)
        veth.send([*(frame(size=size) for size in sizes), end(60)])
        with anyio.fail_after(PATIENCE):
            seen = [packet.captured_length for packet in await take(capture, limit - 60 + 2)]
    assert seen == [*range(60, limit + 1), 60]
