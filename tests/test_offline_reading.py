"""The ways to take packets out of a savefile, and changing the filter in the middle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked

import aiopcap
from tests.reading import SlowFile, rest_of
from tests.support.frames import frame, number_of, numbered, udp_frame
from tests.support.pcapfiles import pcap_bytes, records

pytestmark = pytest.mark.anyio

COUNT = 500
CONTENT = pcap_bytes(records(numbered(COUNT)))
# Every third is a datagram; the number is in the frames between.
MIXED = [
    udp_frame(number.to_bytes(8, "big")) if number % 3 == 0 else frame(number.to_bytes(8, "big"))
    for number in range(COUNT)
]
MIXED_CONTENT = pcap_bytes(records(MIXED))

Make = Callable[[bytes], Any]
sources = pytest.mark.parametrize("kind", ["path", "memory", "few bytes a time"])


@pytest.fixture
def make(kind: str, tmp_path: Path) -> Make:
    def source(content: bytes) -> Any:
        if kind == "path":
            path = tmp_path / "file.pcap"
            path.write_bytes(content)
            return path
        return content if kind == "memory" else SlowFile(content, at_once=997)

    return source


def numbers(packets: list[aiopcap.Packet]) -> list[int]:
    return [number_of(packet.data) for packet in packets]


@sources
async def test_all_ways_of_reading_can_be_mixed(make: Make) -> None:
    got: list[aiopcap.Packet] = []
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        got.append(await capture.receive())
        got.append(await anext(capture))
        async for packet in capture:
            got.append(packet)
            if len(got) % 5 == 0:
                break
        async for batch in capture.batches(3):
            got.extend(batch)
            break
        try:
            got.append(capture.receive_nowait())
        except anyio.WouldBlock:
            got.append(await capture.receive())
        got.extend((await rest_of(capture)).packets[:7])
        got.extend(await anext(capture.batches(), []))
        with pytest.raises(anyio.EndOfStream):
            await capture.receive()
    assert numbers(got[:9]) == list(range(9))
    assert numbers(got) == list(range(len(got)))


@sources
async def test_receive_to_the_end_and_beyond(make: Make) -> None:
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        got = [await capture.receive() for _ in range(COUNT)]
        assert numbers(got) == list(range(COUNT))
        for _ in range(3):
            with pytest.raises(anyio.EndOfStream):
                await capture.receive()
            with pytest.raises(anyio.EndOfStream):
                await capture.receive_batch()
            with pytest.raises(StopAsyncIteration):
                await anext(capture)
            with pytest.raises(StopAsyncIteration):
                await anext(capture.batches())
            with pytest.raises(anyio.EndOfStream):
                capture.receive_nowait()


@sources
async def test_leaving_a_loop_and_iterating_again_goes_on(make: Make) -> None:
    got: list[aiopcap.Packet] = []
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        for stop in (1, 7, 100, 101, 499):
            async for packet in capture:
                got.append(packet)
                if len(got) == stop:
                    break
        async for packet in capture:
            got.append(packet)  # noqa: PERF401
        async for _ in capture:
            pytest.fail("the file is at its end")
    assert numbers(got) == list(range(COUNT))


@sources
@pytest.mark.parametrize("most", [1, 2, 7, 499, 500, 501, 10**9])
async def test_batches_have_at_most_so_many_packets(make: Make, most: int) -> None:
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        batches = [batch async for batch in capture.batches(most)]
    assert all(0 < len(batch) <= most for batch in batches)
    assert numbers([packet for batch in batches for packet in batch]) == list(range(COUNT))


async def test_batches_of_memory_are_as_large_as_they_may_be() -> None:
    async with await aiopcap.open_offline(CONTENT) as capture:
        assert [len(batch) async for batch in capture.batches(200)] == [200, 200, 100]


@pytest.mark.parametrize("most", [0, -1])
async def test_batches_of_nothing_are_refused(most: int) -> None:
    async with await aiopcap.open_offline(CONTENT) as capture:
        with pytest.raises(ValueError, match="max_packets"):
            capture.batches(most)


@sources
async def test_a_batch_begins_where_a_loop_over_packets_stopped(make: Make) -> None:
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        async for packet in capture:
            if number_of(packet.data) == 4:
                break
        batch = await anext(capture.batches(40))
        assert number_of(batch[0].data) == 5
        following = await capture.receive()
        assert number_of(following.data) == 5 + len(batch)
        assert number_of((await capture.receive_batch())[0].data) == 6 + len(batch)


@sources
async def test_a_loop_over_batches_and_one_over_packets_take_turns(make: Make) -> None:
    got: list[aiopcap.Packet] = []
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        while len(got) < COUNT:
            async for batch in capture.batches(4):
                got.extend(batch)
                break
            async for packet in capture:
                got.append(packet)
                break
    assert numbers(got) == list(range(COUNT))


async def test_nothing_is_there_of_a_file_on_a_disk_before_it_was_waited_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    async with await aiopcap.open_offline(path) as capture:
        with pytest.raises(anyio.WouldBlock):
            capture.receive_nowait()
        await capture.receive()
        assert number_of(capture.receive_nowait().data) == 1


async def test_memory_is_always_there() -> None:
    async with await aiopcap.open_offline(CONTENT) as capture:
        got = [capture.receive_nowait() for _ in range(COUNT)]
        assert numbers(got) == list(range(COUNT))
        with pytest.raises(anyio.EndOfStream):
            capture.receive_nowait()


@pytest.mark.parametrize(
    "read",
    [
        lambda capture: capture.receive(),
        lambda capture: capture.receive_batch(),
        lambda capture: anext(capture.batches(1)),
    ],
    ids=["receive", "receive_batch", "batches"],
)
async def test_reading_is_a_checkpoint_even_when_packets_are_in_hand(
    read: Callable[[aiopcap.OfflineCapture], Awaitable[object]],
) -> None:
    async with await aiopcap.open_offline(CONTENT) as capture:
        await capture.receive()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await read(capture)
        assert scope.cancelled_caught
        assert number_of((await capture.receive()).data) == 1


async def test_a_second_reader_of_a_file_is_told_that_it_is_busy() -> None:
    file = SlowFile(CONTENT)
    async with await aiopcap.open_offline(file) as capture:
        file.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest_of, capture)
            await to_thread.run_sync(file.entered.wait)
            with pytest.raises(anyio.BusyResourceError):
                await capture.receive()
            with pytest.raises(anyio.BusyResourceError):
                capture.receive_nowait()
            file.release()


async def test_packets_carry_the_files_link_type_and_no_interface() -> None:
    async with await aiopcap.open_offline(CONTENT) as capture:
        packet = await capture.receive()
        batch = await capture.receive_batch()
    assert packet.linktype is batch.linktype is batch[0].linktype is aiopcap.LinkType.EN10MB
    assert packet.interface is None
    assert list(batch.interfaces) == [None] * len(batch)


# --- filters ----------------------------------------------------------------------------------


def mixed(packets: list[aiopcap.Packet]) -> list[int]:
    return [MIXED.index(packet.data) for packet in packets]


@sources
@pytest.mark.parametrize("compiled", [False, True])
async def test_a_filter_from_the_beginning(make: Make, compiled: bool) -> None:
    expression = aiopcap.compile("udp") if compiled else "udp"
    async with await aiopcap.open_offline(make(MIXED_CONTENT), filter=expression) as capture:
        assert str(capture.filter) == "udp"
        assert mixed((await rest_of(capture)).packets) == list(range(0, COUNT, 3))


@sources
async def test_a_filter_that_nothing_passes(make: Make) -> None:
    async with await aiopcap.open_offline(make(MIXED_CONTENT), filter="tcp") as capture:
        assert await rest_of(capture) == ([], None)


@sources
async def test_the_filter_is_changed_in_the_middle_of_a_file(make: Make) -> None:
    async with await aiopcap.open_offline(make(MIXED_CONTENT)) as capture:
        assert capture.filter is None
        first = [await capture.receive() for _ in range(10)]
        await capture.set_filter("udp")
        udp = [await capture.receive() for _ in range(10)]
        await capture.set_filter(aiopcap.compile("not udp"))
        other = [await capture.receive() for _ in range(10)]
        await capture.set_filter(None)
        assert capture.filter is None
        rest = (await rest_of(capture)).packets
    assert mixed(first) == list(range(10))
    # As with libpcap: what follows the last packet that was delivered is looked at with the new
    # filter, whatever had been read by then.
    assert mixed(first) == list(range(10))
    assert mixed(udp) == list(range(12, 42, 3))
    assert mixed(other) == [index for index in range(40, 55) if index % 3 != 0][:10]
    assert mixed(rest) == list(range(54, COUNT))


@sources
async def test_the_filter_is_changed_while_a_batch_is_in_hand(make: Make) -> None:
    async with await aiopcap.open_offline(make(MIXED_CONTENT)) as capture:
        async for packet in capture:
            if mixed([packet]) == [100]:
                break
        await capture.set_filter("udp")
        assert mixed((await rest_of(capture)).packets) == list(range(102, COUNT, 3))


async def test_the_filter_is_changed_while_a_cancelled_read_goes_on_in_its_thread() -> None:
    file = SlowFile(MIXED_CONTENT, at_once=2000)
    async with await aiopcap.open_offline(file) as capture:
        got = mixed(list(await capture.receive_batch()))
        file.hold()

        async def read() -> None:
            async for packet in capture:
                got.append(MIXED.index(packet.data))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await to_thread.run_sync(file.entered.wait)
            tasks.cancel_scope.cancel()
        before = len(got)
        assert got == list(range(before))
        await capture.set_filter("udp")
        file.release()
        await read()
    assert got[before:] == [index for index in range(before, COUNT) if index % 3 == 0]


async def test_the_filter_is_changed_while_the_reader_waits() -> None:
    file = SlowFile(MIXED_CONTENT, at_once=2000)
    async with await aiopcap.open_offline(file) as capture:
        got = mixed(list(await capture.receive_batch()))
        file.hold()

        async def read() -> None:
            async for packet in capture:
                got.append(MIXED.index(packet.data))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            before = len(got)
            assert got == list(range(before))
            await capture.set_filter("udp")
            file.release()
    assert got[before:] == [index for index in range(before, COUNT) if index % 3 == 0]


@sources
async def test_a_filter_that_does_not_compile_leaves_the_old_one(make: Make) -> None:
    async with await aiopcap.open_offline(make(MIXED_CONTENT), filter="udp") as capture:
        await capture.receive()
        with pytest.raises(aiopcap.FilterError, match="syntax error"):
            await capture.set_filter("udp and and")
        assert str(capture.filter) == "udp"
        assert mixed((await rest_of(capture)).packets) == list(range(3, COUNT, 3))


async def test_a_filter_for_another_link_type_is_compiled_again() -> None:
    raw_ip = aiopcap.compile("udp", linktype=aiopcap.LinkType.RAW)
    async with await aiopcap.open_offline(MIXED_CONTENT, filter=raw_ip) as capture:
        assert capture.filter is not None
        assert capture.filter.linktype is aiopcap.LinkType.EN10MB
        assert mixed((await rest_of(capture)).packets) == list(range(0, COUNT, 3))


async def test_a_filter_counts_the_wire_length() -> None:
    content = pcap_bytes([packet._replace(wire_length=2000) for packet in records([frame()])])
    async with await aiopcap.open_offline(content, filter="greater 1999") as capture:
        assert len((await rest_of(capture)).packets) == 1


async def test_cancelling_set_filter_leaves_the_old_one() -> None:
    async with await aiopcap.open_offline(MIXED_CONTENT, filter="udp") as capture:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await capture.set_filter("not udp")
        assert scope.cancelled_caught
        assert str(capture.filter) == "udp"
        assert mixed((await rest_of(capture)).packets) == list(range(0, COUNT, 3))


async def test_the_filter_of_an_unknown_link_type() -> None:
    content = pcap_bytes(records(numbered(3)), linktype=65535)
    async with await aiopcap.open_offline(content) as capture:
        await capture.set_filter(None)
        with pytest.raises(aiopcap.FilterError, match="unknown data link type 65535"):
            await capture.set_filter("ip")
        assert len((await rest_of(capture)).packets) == 3
