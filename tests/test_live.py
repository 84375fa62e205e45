"""Live captures: packets come whole, once, in order, and in each of the ways to ask for them."""

from __future__ import annotations

import time
from itertools import pairwise

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import LinkType, open_live

from .support.frames import frame, number_of, numbered, udp_frame
from .support.resources import resources
from .support.veth import Veth
from .support_live import PATIENCE, arrived, numbers, take, until

pytestmark = pytest.mark.anyio


async def test_packets_come_whole_and_in_order(veth: Veth) -> None:
    sent = [data for size in (60, 61, 590, 1514) for data in numbered(100, size)]
    async with await open_live(veth.near) as capture:
        veth.send(sent)
        packets = await take(capture, len(sent))
    assert [packet.data for packet in packets] == sent
    assert [packet.wire_length for packet in packets] == [len(data) for data in sent]
    assert {packet.interface for packet in packets} == {veth.near}
    assert {packet.linktype for packet in packets} == {LinkType.EN10MB}


async def test_a_capture_says_what_it_is(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        assert isinstance(capture, aiopcap.LiveCapture)
        assert capture.device == veth.near
        assert capture.linktype is LinkType.EN10MB
        assert capture.snaplen == 262144
        assert capture.filter is None
        assert LinkType.EN10MB in capture.datalinks()
        assert capture.fileno() > 2
        assert veth.near in repr(capture)
        assert "closed" not in repr(capture)
    assert "closed" in repr(capture)


@pytest.mark.parametrize("immediate", [False, True])
async def test_a_packet_on_an_idle_link_comes_at_once(veth: Veth, immediate: bool) -> None:
    delays = []
    async with await open_live(veth.near, immediate=immediate) as capture:
        for data in numbered(10):
            before = time.perf_counter()
            veth.send(data)
            await take(capture, 1)
            delays.append(time.perf_counter() - before)
    # The median: other processes of the machine may hold up one or the other.
    assert sorted(delays)[5] < 0.021


async def test_time_stamps_have_nanoseconds_and_are_right(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        before = time.time_ns()
        veth.send(numbered(200))
        after_send = time.time_ns()
        packets = await take(capture, 200)
    times = [packet.timestamp_ns for packet in packets]
    assert before <= times[0]
    # An interrupt hands the last ones over: a moment after the send, under load.
    assert times[-1] <= after_send + 500_000_000
    assert any(value % 1000 for value in times)
    assert all(later >= earlier for earlier, later in pairwise(times))


async def test_receive_gives_one_packet_at_a_time(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        for number, data in enumerate(numbered(3)):
            veth.send(data)
            with anyio.fail_after(PATIENCE):
                assert number_of((await capture.receive()).data) == number


async def test_receive_nowait_never_waits(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        with pytest.raises(anyio.WouldBlock):
            capture.receive_nowait()
        veth.send(numbered(3))
        await arrived(capture, 3)
        assert numbers([capture.receive_nowait() for _ in range(3)]) == [0, 1, 2]
        with pytest.raises(anyio.WouldBlock):
            capture.receive_nowait()


async def test_receive_batch_gives_what_there_is(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(numbered(20, 100))
        await arrived(capture, 20)
        batch = await capture.receive_batch()
        assert isinstance(batch, aiopcap.PacketBatch)
        assert [number_of(packet.data) for packet in batch] == list(range(20))
        assert list(batch.captured_lengths) == list(batch.wire_lengths) == [100] * 20
        assert batch.linktype is LinkType.EN10MB
        for packet, offset, moment in zip(batch, batch.offsets, batch.timestamps_ns, strict=True):
            assert bytes(batch.data[offset : offset + 100]) == packet.data
            assert moment == packet.timestamp_ns


async def test_batches_bring_everything_and_keep_to_their_size(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(100))
        seen: list[int] = []
        with anyio.fail_after(PATIENCE):
            async for batch in capture.batches(max_packets=7):
                assert 1 <= len(batch) <= 7
                seen += [number_of(packet.data) for packet in batch]
                if len(seen) == 100:
                    break
        veth.send(numbered(50, start=100))
        with anyio.fail_after(PATIENCE):
            async for batch in capture.batches():
                seen += [number_of(packet.data) for packet in batch]
                if len(seen) == 150:
                    break
    assert seen == list(range(150))


@pytest.mark.parametrize("wrong", [0, -1])
async def test_batches_have_room_for_a_packet(veth: Veth, wrong: int) -> None:
    async with await open_live(veth.near) as capture:
        with pytest.raises(ValueError, match="max_packets"):
            capture.batches(max_packets=wrong)


async def test_all_ways_to_read_take_from_the_same_packets(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(numbered(100))
        await arrived(capture, 100)
        seen: list[int] = []
        batches = capture.batches(max_packets=3)
        with anyio.fail_after(PATIENCE):
            while len(seen) < 100:
                seen += numbers([await capture.receive()])
                seen += numbers([capture.receive_nowait()])
                seen += numbers(await take(capture, 2))
                seen += numbers(list(await anext(batches)))
                seen += numbers([capture.receive_nowait()])
                if len(seen) > 90:
                    seen += numbers(list(await capture.receive_batch()))
    assert seen == list(range(100))


async def test_a_loop_that_was_left_goes_on_where_it_was(veth: Veth) -> None:
    seen: list[int] = []
    async with await open_live(veth.near) as capture:
        veth.send(numbered(10))
        for count in (3, 3, 3, 1):
            seen += numbers(await take(capture, count))
            await wait_all_tasks_blocked()
        veth.send(numbered(2, start=10))
        seen += numbers(await take(capture, 2))
    assert seen == list(range(12))


async def test_two_captures_of_a_device_both_see_everything(veth: Veth) -> None:
    async with await open_live(veth.near) as one, await open_live(veth.near) as other:
        veth.send(numbered(300))
        assert numbers(await take(one, 300)) == list(range(300))
        assert numbers(await take(other, 300)) == list(range(300))


async def test_two_tasks_read_two_captures_at_a_time(veth: Veth) -> None:
    seen: dict[str, list[int]] = {}

    async def read(name: str, capture: aiopcap.LiveCapture) -> None:
        seen[name] = numbers(await take(capture, 100))

    async with (
        await open_live(veth.near) as one,
        await open_live(veth.near, filter="less 60") as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(read, "one", one)
        tasks.start_soon(read, "other", other)
        await wait_all_tasks_blocked()
        veth.send(numbered(100))
    assert seen == {"one": list(range(100)), "other": list(range(100))}


async def test_packets_wait_for_a_reader_that_comes_later(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(100))
        # While nobody waits on the descriptor it becomes ready, and has to be so still later.
        await until(lambda: capture.statistics().received == 100)
        assert numbers(await take(capture, 100)) == list(range(100))


async def test_kept_packets_do_not_change(veth: Veth) -> None:
    first = [udp_frame(bytes([number]) * 100, size=142) for number in range(5)]
    async with await open_live(veth.near) as capture:
        veth.send(first)
        packets = await take(capture, 3)
        views = [memoryview(packet) for packet in packets]
        batch = await capture.receive_batch()
        stamps = [packet.timestamp_ns for packet in packets]
        flood = [frame(b"\xff" * 200)] * 1000
        for _ in range(100):
            veth.send(flood)
            remaining = len(flood)
            with anyio.fail_after(PATIENCE):
                while remaining > 0:
                    remaining -= len(await capture.receive_batch())
        assert capture.statistics().dropped == 0
    assert [packet.data for packet in packets] == first[:3]
    assert [bytes(view) for view in views] == first[:3]
    assert [packet.timestamp_ns for packet in packets] == stamps
    assert [packet.data for packet in batch] == first[3 : 3 + len(batch)]


@pytest.mark.memory
async def test_a_long_capture_does_not_grow(veth: Veth) -> None:
    async def read(count: int) -> None:
        sent = numbered(1000)
        for _ in range(0, count, 1000):
            veth.send(sent)
            await take(capture, 1000)

    async with await open_live(veth.near) as capture:
        await read(20_000)
        before = resources()
        await read(80_000)
        after = resources()
    assert after.mappings - before.mappings < 10
    assert after.resident_bytes - before.resident_bytes < 4 * 2**20


async def test_what_is_printed_of_packets_is_not_their_contents(veth: Veth) -> None:
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send([frame(b"secret")] * 2)
        await arrived(capture, 2)
        packet = await capture.receive()
        for text in (repr(packet), str(packet), repr(await capture.receive_batch())):
            assert "secret" not in text
            assert b"secret".hex() not in text
