"""Filters of savefiles, from the beginning and changed in the middle."""

from __future__ import annotations

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked

import aiopcap
from tests.reading import Make, SlowFile, rest_of, sources
from tests.support.frames import frame, numbered, udp_frame
from tests.support.pcapfiles import pcap_bytes, records

pytestmark = pytest.mark.anyio

COUNT = 500

# Every third is a datagram; the number is in the frames between.
MIXED = [
    udp_frame(number.to_bytes(8, "big")) if number % 3 == 0 else frame(number.to_bytes(8, "big"))
    for number in range(COUNT)
]

MIXED_CONTENT = pcap_bytes(records(MIXED))


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
