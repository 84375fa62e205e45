"""Captures of several devices as one stream, by the kernel's time stamps."""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import trio
from anyio import CancelScope, wait_all_tasks_blocked
from trio.testing import MockClock

import aiopcap
from aiopcap import open_live

from .reading import checkpoints, pipe
from .support.frames import frame, numbered
from .support.pcapfiles import Record, pcap_bytes
from .support.veth import Veth, veth_pair
from .support_live import PATIENCE, arrived, numbers

pytestmark = [pytest.mark.anyio, pytest.mark.net]

FOREVER = math.inf


@asynccontextmanager
async def on_cables(
    count: int, *, max_delay: float, immediate: bool = True
) -> AsyncIterator[tuple[aiopcap.Merge, list[Veth], list[aiopcap.LiveCapture]]]:
    """A merge of the near ends of so many cables."""
    with ExitStack() as stack:
        cables = [stack.enter_context(veth_pair()) for _ in range(count)]
        # Small, so that the kernel's buffer has room for many where each is handed over at once.
        captures = [
            await open_live(cable.near, immediate=immediate, snaplen=2048) for cable in cables
        ]
        async with aiopcap.merge(*captures, max_delay=max_delay) as merge:
            yield merge, cables, captures


async def take(merge: aiopcap.Merge, count: int) -> list[aiopcap.Packet]:
    packets: list[aiopcap.Packet] = []
    with anyio.fail_after(PATIENCE):
        while len(packets) < count:
            packets.append(await merge.receive())
    return packets


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("count", [2, 5])
async def test_packets_come_in_the_order_in_which_they_were_sent(
    count: int, immediate: bool
) -> None:
    async with on_cables(count, max_delay=FOREVER, immediate=immediate) as (merge, cables, _):
        through = [cables[number * 7 % 11 % count] for number in range(600)]
        # With one more on each cable, nothing before it is held back.
        through += cables

        def send() -> None:
            for cable, data in zip(through, numbered(len(through)), strict=True):
                cable.send(data)

        thread = threading.Thread(target=send)
        thread.start()
        packets = await take(merge, 600)
        thread.join()
    assert numbers(packets) == list(range(600))
    assert [packet.interface for packet in packets] == [cable.near for cable in through[:600]]
    times = [packet.timestamp_ns for packet in packets]
    assert times == sorted(times)


async def test_nothing_waits_while_every_capture_has_a_packet() -> None:
    async with on_cables(2, max_delay=FOREVER) as (merge, cables, captures):
        for number, data in enumerate(numbered(6)):
            cables[number % 2].send(data)
        for capture in captures:
            await arrived(capture, 3)
        # The last of the one that has the last packet is held: the other may have an earlier one.
        assert numbers([merge.receive_nowait() for _ in range(5)]) == [0, 1, 2, 3, 4]
        with pytest.raises(anyio.WouldBlock):
            merge.receive_nowait()


async def test_without_a_delay_packets_come_at_once() -> None:
    async with on_cables(2, max_delay=0) as (merge, cables, _):
        for number, data in enumerate(numbered(20)):
            cables[number % 2].send(data)
            assert numbers(await take(merge, 1)) == [number]


async def test_late_packets_come_out_of_order() -> None:
    # The kernel keeps a block until the buffer timeout, or until it is full.
    with veth_pair() as quick, veth_pair() as slow:
        captures = [
            await open_live(quick.near, immediate=True),
            await open_live(slow.near, buffer_timeout=1000),
        ]
        async with aiopcap.merge(*captures, max_delay=0.001) as merge:
            slow.send(numbered(1))
            quick.send(numbered(1, start=1))
            (first,) = await take(merge, 1)
            slow.send(numbered(1000, 1400, start=2))
            second, *_ = await take(merge, 1)
    assert numbers([first, second]) == [1, 0]
    assert first.timestamp_ns > second.timestamp_ns


async def test_a_longer_delay_brings_them_in_order() -> None:
    with veth_pair() as quick, veth_pair() as slow:
        captures = [
            await open_live(quick.near, immediate=True),
            await open_live(slow.near, buffer_timeout=0.1),
        ]
        async with aiopcap.merge(*captures, max_delay=5) as merge:
            first, second, third = numbered(3)
            slow.send(first)
            quick.send(second)
            slow.send(third)
            assert numbers(await take(merge, 2)) == [0, 1]


async def test_a_file_and_a_device() -> None:
    with veth_pair() as cable:
        capture = await open_live(cable.near, immediate=True)
        now = time.time_ns()
        records = [Record(now + step, b"old") for step in (-2_000_000_000, -1_000_000_000)]
        records.append(Record(now + 3_600_000_000_000, b"in an hour"))
        file = await aiopcap.open_offline(pcap_bytes(records, precision="nano"))
        async with aiopcap.merge(capture, file, names=["wire", "file"], max_delay=0.01) as merge:
            assert [packet.data for packet in await take(merge, 2)] == [b"old", b"old"]
            # What is of the future comes when the device has brought nothing for a while.
            assert [packet.data for packet in await take(merge, 1)] == [b"in an hour"]
            cable.send(numbered(1))
            (packet,) = await take(merge, 1)
            assert packet.interface == "wire"


async def test_names_of_any_device() -> None:
    with veth_pair() as cable:
        # Nobody else's, whatever the machine sends and receives meanwhile.
        ethertype = 0xA000 + secrets.randbelow(0x1000)
        for names, expected in ((None, cable.near), (["all"], f"all:{cable.near}")):
            capture = await open_live("any", filter=f"ether proto {ethertype:#x}", immediate=True)
            async with aiopcap.merge(capture, names=names) as merge:
                cable.send(frame(ethertype=ethertype))
                assert [packet.interface for packet in await take(merge, 1)] == [expected]


async def test_a_device_that_is_removed_does_not_end_the_others() -> None:
    async with on_cables(2, max_delay=0.001) as (merge, cables, captures):
        cables[0].send(numbered(1))
        await arrived(captures[0], 1)
        cables[0].delete()
        assert numbers(await take(merge, 1)) == [0]
        with pytest.raises(aiopcap.InterfaceGoneError):
            await take(merge, 1)
        cables[1].send(numbered(3, start=1))
        assert numbers(await take(merge, 3)) == [1, 2, 3]


async def test_a_device_that_is_closed_leaves_the_merge() -> None:
    async with on_cables(2, max_delay=FOREVER) as (merge, cables, captures):
        got: list[int] = []

        async def read() -> None:
            got.extend(numbers(await take(merge, 1)))

        cables[1].send(numbered(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await arrived(captures[1], 1)
            await wait_all_tasks_blocked()
            assert got == []
            await captures[0].aclose()
        assert got == [0]


@pytest.mark.parametrize("count", [1, 2])
async def test_closing_wakes_the_reader_at_once(count: int) -> None:
    async with on_cables(count, max_delay=FOREVER) as (merge, _, _):

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await merge.receive()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await wait_all_tasks_blocked()
                await merge.aclose()


async def test_cancelled_anywhere_nothing_is_lost() -> None:
    async with on_cables(3, max_delay=FOREVER) as (merge, cables, _):
        got: list[int] = []
        sent = 0
        for turns in range(60):
            for data in numbered(3, start=sent):
                cables[sent * 5 % 7 % 3].send(data)
                sent += 1
            await read_and_cancel(merge, got, turns)
        for cable in cables:
            cable.send(numbered(1, start=sent))
            sent += 1
        got.extend(numbers(await take(merge, sent - 2 - len(got))))
    # All but the last two, for which the first of the last three might have brought another.
    assert got == list(range(sent - 2))


async def read_and_cancel(merge: aiopcap.Merge, got: list[int], turns: int) -> None:
    """Read until the event loop has turned so often."""
    with CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await checkpoints(turns)
                scope.cancel()

            tasks.start_soon(cancel)
            async for packet in merge:
                got.extend(numbers([packet]))


async def test_a_filter_is_changed_while_it_is_merged() -> None:
    async with on_cables(2, max_delay=0) as (merge, cables, captures):
        await captures[0].set_filter("ether[21] & 1 == 1")
        cables[0].send(numbered(4))
        assert numbers(await take(merge, 2)) == [1, 3]
        with pytest.raises(anyio.WouldBlock):
            merge.receive_nowait()


async def test_a_capture_is_dumped_or_merged_and_not_both(veth: Veth, tmp_path: Path) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(tmp_path / "dump.pcap")
        with pytest.raises(anyio.BusyResourceError):
            aiopcap.merge(capture)
        await dump.stop()
        async with aiopcap.merge(capture):
            with pytest.raises(anyio.BusyResourceError):
                await capture.live_dump(tmp_path / "other.pcap")


def test_packets_are_held_back_for_as_long_as_the_clock_says() -> None:
    """In virtual time: to the clock nothing happens while a packet is held back."""

    async def main() -> None:
        async with on_cables(2, max_delay=3600) as (merge, cables, captures):
            cables[0].send(numbered(2))
            await arrived(captures[0], 2)
            begun = trio.current_time()
            assert (await merge.receive()).interface == cables[0].near
            assert trio.current_time() - begun == pytest.approx(3600)
            # What came with it was held back for as long.
            assert (await merge.receive()).interface == cables[0].near
            assert trio.current_time() - begun == pytest.approx(3600)

    trio.run(main, clock=MockClock(autojump_threshold=0.2))


def test_what_comes_while_others_are_held_back_is_held_for_no_longer() -> None:
    async def main() -> None:
        async with on_cables(2, max_delay=10) as (merge, cables, captures):
            cables[0].send(numbered(1))
            await arrived(captures[0], 1)
            assert nothing_yet(merge)
            clock.jump(6)
            cables[0].send(numbered(1, start=1))
            await arrived(captures[0], 2)
            assert nothing_yet(merge)
            clock.jump(4)
            assert numbers([merge.receive_nowait()]) == [0]
            assert nothing_yet(merge)
            clock.jump(6)
            assert numbers([merge.receive_nowait()]) == [1]

    clock = MockClock()
    trio.run(main, clock=clock)


def test_what_is_held_back_takes_earlier_packets_along() -> None:
    async def main() -> None:
        with veth_pair() as silent, veth_pair() as cable, pipe() as (reader, writer):
            content = pcap_bytes([Record(1, numbered(1, start=7)[0])])
            os.write(writer, content[:24])
            capture = await open_live(cable.near, immediate=True)
            others = [await open_live(silent.near), await aiopcap.open_offline(reader)]
            async with aiopcap.merge(capture, *others, max_delay=10) as merge:
                cable.send(numbered(1, start=8))
                await arrived(capture, 1)
                assert nothing_yet(merge)
                clock.jump(6)
                os.write(writer, content[24:])
                assert nothing_yet(merge)
                clock.jump(4)
                assert numbers([merge.receive_nowait()]) == [7]
                # The file may have more that is earlier, and is waited for until it ends.
                assert nothing_yet(merge)
                os.close(writer)
                assert numbers([merge.receive_nowait()]) == [8]

    clock = MockClock()
    trio.run(main, clock=clock)


def nothing_yet(merge: aiopcap.Merge) -> bool:
    """Whether no packet can be had now."""
    with pytest.raises(anyio.WouldBlock):
        merge.receive_nowait()
    return True
