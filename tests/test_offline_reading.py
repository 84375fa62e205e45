"""The ways to take packets out of a savefile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

import aiopcap
from tests.reading import Make, SlowFile, rest_of, sources
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import pcap_bytes, records

pytestmark = pytest.mark.anyio

COUNT = 500

CONTENT = pcap_bytes(records(numbered(COUNT)))


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
