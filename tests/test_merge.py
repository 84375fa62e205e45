"""Several savefiles as one stream: the order, the names, the errors, and whose the captures are."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from tests.reading import SlowFile, as_records, checkpoints, filled, pipe
from tests.support.frames import frame, number_of, numbered, udp_frame
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.pcapngfiles import enhanced_packet, interface, option, section
from tests.support.witnesses import mergecap

pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000
LINUX_SLL = 113


def at(*seconds: int, source: int = 0) -> list[Record]:
    """Packets of these times, which say their source and their number."""
    return [
        Record(second * SECOND, bytes([source, number]) + bytes(58))
        for number, second in enumerate(seconds)
    ]


async def opened(*contents: bytes) -> list[aiopcap.OfflineCapture]:
    return [await aiopcap.open_offline(content) for content in contents]


async def merged(*files: Sequence[Record], **options: Any) -> aiopcap.Merge:
    captures = await opened(*(pcap_bytes(file, precision="nano") for file in files))
    return aiopcap.merge(*captures, **options)


async def seconds(merge: aiopcap.Merge) -> list[int]:
    return [packet.timestamp_ns // SECOND async for packet in merge]


async def take(merge: aiopcap.Merge, got: list[int]) -> None:
    async for packet in merge:
        got.append(packet.timestamp_ns // SECOND)  # noqa: PERF401 - those before an error count


# -- the order -----------------------------------------------------------------------------------


async def test_packets_come_in_the_order_of_their_time_stamps() -> None:
    first, second, third = at(1, 4, 7), at(2, 5, 8, source=1), at(3, 6, 9, source=2)
    async with await merged(first, second, third) as merge:
        packets = [packet async for packet in merge]
    expected = sorted([*first, *second, *third], key=lambda record: record.timestamp_ns)
    assert as_records(packets) == filled(expected)


async def test_at_equal_times_the_first_argument_is_first() -> None:
    files = [at(1, 1, 2), at(1, 2, 2, source=1), at(1, 1, 2, source=2)]
    async with await merged(*files) as merge:
        got = [(packet.data[0], packet.data[1]) async for packet in merge]
    ones = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    assert got == [*ones, (0, 2), (1, 1), (1, 2), (2, 2)]


async def test_a_file_keeps_its_own_order() -> None:
    # What is late in its own file comes as soon as what is before it there has come.
    async with await merged(at(5, 1, 9), at(2, 3, 6)) as merge:
        assert await seconds(merge) == [2, 3, 5, 1, 6, 9]


async def test_time_stamps_at_the_ends_of_what_64_bits_hold() -> None:
    def file(seconds: int, nanoseconds: int) -> bytes:
        packet = enhanced_packet(b"", nanoseconds)
        return section() + interface(tsresol=9, tsoffset=seconds) + packet + packet

    last, first = file(9_223_372_036, 854_775_807), file(-9_223_372_037, 145_224_192)
    captures = await opened(last, first, first, last)
    async with aiopcap.merge(*captures, names=["a", "b", "c", "d"]) as merge:
        got = [(packet.timestamp_ns, packet.interface) async for packet in merge]
    least = [(-(2**63), f"{name}:0") for name in "bbcc"]
    assert got == [*least, *((2**63 - 1, f"{name}:0") for name in "aadd")]


async def test_one_file_is_itself() -> None:
    async with await merged(at(3, 1, 2)) as merge:
        assert await seconds(merge) == [3, 1, 2]


async def test_files_without_packets() -> None:
    async with await merged([], at(1), []) as merge:
        assert await seconds(merge) == [1]
    async with await merged([], []) as merge:
        assert await seconds(merge) == []
        with pytest.raises(anyio.EndOfStream):
            await merge.receive()


@pytest.mark.parametrize("count", [2, 40])
async def test_as_mergecap_does(count: int, tmp_path: Path) -> None:
    paths = []
    for source in range(count):
        times = range(source * 7 % 5, 3000, source % 6 + 1)
        paths.append(tmp_path / f"{source}.pcap")
        records = [
            Record(time * SECOND, bytes([source]) + frame(time.to_bytes(4, "big")))
            for time in times
        ]
        paths[-1].write_bytes(pcap_bytes(records, precision="nano"))
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcap"
    mergecap(theirs, *paths)
    captures = [await aiopcap.open_offline(path) for path in paths]
    dumper = await aiopcap.dump_open(ours, linktype=captures[0].linktype)
    async with aiopcap.merge(*captures) as merge, dumper:
        async for batch in merge.batches():
            await dumper.send_batch(batch)
    # Where times are equal, mergecap takes the files in an order of its own.
    assert sorted(read_pcap(ours.read_bytes()).records) == sorted(
        read_pcap(theirs.read_bytes()).records
    )
    assert [record.timestamp_ns for record in read_pcap(ours.read_bytes()).records] == [
        record.timestamp_ns for record in read_pcap(theirs.read_bytes()).records
    ]


# -- batches -------------------------------------------------------------------------------------


async def test_short_runs_come_in_large_batches_and_long_ones_too() -> None:
    short = [at(*range(0, 500, 2)), at(*range(1, 500, 2), source=1)]
    async with await merged(*short) as merge:
        # A batch ends where a file's ends: what follows in that one comes first to be read.
        assert [len(batch) async for batch in merge.batches()] == [499, 1]
    long = [at(*range(200)), at(*range(200, 400), source=1)]
    async with await merged(*long) as merge:
        assert [len(batch) async for batch in merge.batches()] == [200, 200]


async def test_a_batch_has_one_link_type() -> None:
    ethernet = pcap_bytes(at(1, 2, 5, 7), precision="nano")
    cooked = pcap_bytes(at(3, 4, 6, source=1), precision="nano", linktype=LINUX_SLL)
    async with aiopcap.merge(*await opened(ethernet, cooked)) as merge:
        batches = [batch async for batch in merge.batches()]
    assert [(batch.linktype.name, len(batch)) for batch in batches] == [
        ("EN10MB", 2),
        ("LINUX_SLL", 2),
        ("EN10MB", 1),
        ("LINUX_SLL", 1),
        ("EN10MB", 1),
    ]
    assert {packet.linktype for packet in batches[1]} == {aiopcap.LinkType.LINUX_SLL}


async def test_batches_of_at_most_so_many() -> None:
    async with await merged(at(1, 3, 5), at(2, 4, 6)) as merge:
        lengths = [len(batch) async for batch in merge.batches(2)]
    assert max(lengths) == 2
    assert sum(lengths) == 6


async def test_batches_stay_as_they_are_while_the_merge_goes_on() -> None:
    big = [
        [Record(2 * number + source, frame(bytes([source]), size=1400)) for number in range(3000)]
        for source in range(2)
    ]
    async with await merged(*big) as merge:
        batches = [batch async for batch in merge.batches()]
    packets = [packet for batch in batches for packet in batch]
    assert as_records(packets) == filled(sorted(big[0] + big[1]))


@pytest.mark.parametrize("size", [60_000, 65_000, 200_000])
async def test_packets_larger_than_what_is_copied(size: int) -> None:
    files = [[Record(2 * n + k, bytes([k]) * size) for n in range(20)] for k in range(2)]
    async with await merged(*files) as merge:
        packets = [packet async for packet in merge]
    assert as_records(packets) == filled(sorted(files[0] + files[1]))


async def test_lengths_on_the_wire_are_kept() -> None:
    files = [[Record(1, b"abc", 1000), Record(3, b"", 7)], [Record(2, b"xyz", 2000)]]
    async with await merged(*files) as merge:
        assert [packet.wire_length async for packet in merge] == [1000, 2000, 7]


@pytest.mark.parametrize("start_of_second", [1, 1000], ids=["short runs", "one after the other"])
async def test_comments_go_along(start_of_second: int) -> None:
    def file(source: int, start: int) -> bytes:
        packets = (
            enhanced_packet(
                bytes([source]) * (number % 7),
                start + 2 * number,
                options=option(1, f"{source}-{number}".encode()) if number % 3 else b"",
            )
            for number in range(300)
        )
        return section() + interface() + b"".join(packets)

    plain = pcap_bytes([Record(2000 * number, b"") for number in range(300)])
    captures = await opened(file(0, 0), file(1, start_of_second), plain)
    async with aiopcap.merge(*captures, names=["0", "1", "plain"]) as merge:
        packets = [packet async for packet in merge]
    for source in range(2):
        comments = [packet.comments for packet in packets if packet.interface == f"{source}:0"]
        assert comments == [(f"{source}-{n}",) if n % 3 else () for n in range(300)]
    assert {packet.comments for packet in packets if packet.interface == "plain"} == {()}


async def test_a_file_of_several_link_types() -> None:
    heads = interface(name="eth0") + interface(name="any", linktype=LINUX_SLL)
    packets = [enhanced_packet(b"", 2_000_000 * n, interface_id=n % 2) for n in range(4)]
    captures = await opened(section() + heads + b"".join(packets), pcap_bytes(at(1, 5)))
    async with aiopcap.merge(*captures, names=["a", "b"]) as merge:
        got = [
            (packet.interface, packet.linktype and packet.linktype.name) async for packet in merge
        ]
    ethernet, cooked = ("a:eth0", "EN10MB"), ("a:any", "LINUX_SLL")
    assert got == [ethernet, ("b", "EN10MB"), cooked, ethernet, ("b", "EN10MB"), cooked]


# -- names ---------------------------------------------------------------------------------------


async def test_packets_name_their_file(tmp_path: Path) -> None:
    paths = [tmp_path / "one.pcap", tmp_path / "two.pcap"]
    for source, path in enumerate(paths):
        path.write_bytes(pcap_bytes(at(1 + source, 3 + source, 5 + source, source=source)))
    captures = [await aiopcap.open_offline(path) for path in paths]
    async with aiopcap.merge(*captures) as merge:
        assert [packet.interface async for packet in merge] == [*map(str, paths)] * 3


def of_interfaces(*numbers: int, names: Sequence[str | None]) -> bytes:
    heads = b"".join(interface(name=name) for name in names)
    packets = (
        enhanced_packet(bytes([number]), 1_000_000 * second, interface_id=number)
        for second, number in enumerate(numbers)
    )
    return section() + heads + b"".join(packets)


async def test_packets_name_the_interface_that_their_file_names() -> None:
    several = of_interfaces(0, 1, 2, 1, 0, names=["eth0", "wlan0", "eth0"])
    captures = await opened(several, pcap_bytes(at(1, 2)), of_interfaces(0, 0, names=["eth0"]))
    async with aiopcap.merge(*captures, names=["a", "b", "c"]) as merge:
        got = [(packet.timestamp_ns // SECOND, packet.interface) async for packet in merge]
    assert got == [
        (0, "a:eth0"),
        (0, "c:eth0"),
        (1, "a:wlan0"),
        (1, "b"),
        (1, "c:eth0"),
        (2, "a:eth0"),
        (2, "b"),
        (3, "a:wlan0"),
        (4, "a:eth0"),
    ]


async def test_long_runs_name_their_interfaces_too() -> None:
    numbers = [number % 3 for number in range(500)]
    several = of_interfaces(*numbers, names=["x", "y", "z"])
    captures = await opened(several, pcap_bytes(at(1000)))
    async with aiopcap.merge(*captures, names=["file", "other"]) as merge:
        got = [name async for batch in merge.batches() for name in batch.interfaces]
    assert got == [f"file:{'xyz'[number]}" for number in numbers] + ["other"]


async def test_names_of_the_sections_of_a_file() -> None:
    sections = [of_interfaces(0, names=[name]) for name in ("first", "second")]
    captures = await opened(b"".join(sections), of_interfaces(0, names=["third"]))
    async with aiopcap.merge(*captures, names=["a", "b"]) as merge:
        assert {packet.interface async for packet in merge} == {"a:first", "a:second", "b:third"}


async def test_an_interface_that_appears_later_has_its_name() -> None:
    later = of_interfaces(0, names=["early"]) + interface(name="late")
    later += enhanced_packet(b"", 9_000_000, interface_id=1)
    with pipe() as (reader, writer):
        writing = io.FileIO(writer, "w", closefd=False)
        writing.write(later[:-40])
        captures = [await aiopcap.open_offline(reader), *await opened(pcap_bytes(at(5)))]
        async with aiopcap.merge(*captures, names=["a", "b"]) as merge:
            assert (await merge.receive()).interface == "a:early"
            writing.write(later[-40:])
            assert (await merge.receive()).interface == "b"
            assert (await merge.receive()).interface == "a:late"


# -- errors --------------------------------------------------------------------------------------


async def test_an_error_comes_at_its_place_once_and_the_rest_goes_on() -> None:
    whole = pcap_bytes(at(1, 3, 5, 7), precision="nano")
    cut = pcap_bytes(at(2, 4, 6, source=1), precision="nano")[:-1]
    async with aiopcap.merge(*await opened(whole, cut)) as merge:
        got: list[int] = []
        with pytest.raises(aiopcap.TruncatedSavefileError):
            await take(merge, got)
        # Nothing is known of the cut file after 4, so the error comes right behind it.
        assert got == [1, 2, 3, 4]
        assert await seconds(merge) == [5, 7]
        with pytest.raises(anyio.EndOfStream):
            await merge.receive()


async def test_each_error_comes() -> None:
    cut = pcap_bytes(at(1, 2))[:-1]
    async with aiopcap.merge(*await opened(cut, cut, cut)) as merge:
        errors = got = 0
        for _ in range(4):
            try:
                got += len(await seconds(merge))
            except aiopcap.TruncatedSavefileError:
                errors += 1
    assert errors == 3


async def test_an_error_of_a_file_object_is_its_own() -> None:
    class Broken(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell():
                raise OSError(5, "the disk is gone")
            return super().readinto(memoryview(buffer)[:100])

    captures = [
        await aiopcap.open_offline(Broken(pcap_bytes(at(1, 2)))),
        *await opened(pcap_bytes(at(3))),
    ]
    async with aiopcap.merge(*captures) as merge:
        assert (await merge.receive()).timestamp_ns == SECOND
        with pytest.raises(OSError, match="the disk is gone"):
            await merge.receive()
        assert await seconds(merge) == [3]


# -- whose the captures are ----------------------------------------------------------------------


async def test_closing_closes_the_captures() -> None:
    captures = await opened(pcap_bytes(at(1)), pcap_bytes(at(2)))
    merge = aiopcap.merge(*captures)
    await merge.aclose()
    await merge.aclose()
    for stream in (merge, *captures):
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()
        assert "closed" in repr(stream)


async def test_closing_closes_the_captures_when_it_is_cancelled() -> None:
    captures = await opened(pcap_bytes(at(1)), pcap_bytes(at(2)))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await aiopcap.merge(*captures).aclose()
    assert scope.cancelled_caught
    for capture in captures:
        with pytest.raises(anyio.ClosedResourceError):
            capture.receive_nowait()


async def test_closing_wakes_the_reader() -> None:
    files = [SlowFile(pcap_bytes(at(1)), at_once=24) for _ in range(2)]
    captures = [await aiopcap.open_offline(file) for file in files]
    for file in files:
        file.hold()
    merge = aiopcap.merge(*captures)

    async def read() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await merge.receive()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            tasks.start_soon(merge.aclose)
            await wait_all_tasks_blocked()
            for file in files:
                file.release()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_another_event_loop_may_close_it_when_its_own_is_over(backend: str) -> None:
    merge = anyio.run(merged, at(1), at(2), backend=backend)

    async def use() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await merge.receive()
        await merge.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await merge.receive()

    anyio.run(use, backend=backend)


async def test_others_cannot_read_what_is_merged() -> None:
    captures = await opened(pcap_bytes(at(1)), pcap_bytes(at(2)))
    merge = aiopcap.merge(*captures)
    with pytest.raises(anyio.BusyResourceError):
        await captures[0].receive()
    with pytest.raises(anyio.BusyResourceError):
        captures[1].receive_nowait()
    with pytest.raises(anyio.BusyResourceError):
        aiopcap.merge(captures[1])
    assert await seconds(merge) == [1, 2]
    await merge.aclose()


async def test_what_is_refused_leaves_the_captures_alone() -> None:
    content = pcap_bytes(at(1))
    free, busy, closed = await opened(content, content, content)
    await closed.aclose()
    taken = aiopcap.merge(busy)
    with pytest.raises(anyio.BusyResourceError):
        aiopcap.merge(free, busy)
    with pytest.raises(anyio.ClosedResourceError):
        aiopcap.merge(free, closed)
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (ValueError, aiopcap.merge),
        (ValueError, lambda: aiopcap.merge(free, free)),
        (ValueError, lambda: aiopcap.merge(free, names=["a", "b"])),
        (ValueError, lambda: aiopcap.merge(free, max_delay=-0.1)),
        (ValueError, lambda: aiopcap.merge(free, max_delay=float("nan"))),
        (TypeError, lambda: aiopcap.merge(free, names="a")),
        (TypeError, lambda: aiopcap.merge(free, names=[1])),  # type: ignore[list-item]
        (TypeError, lambda: aiopcap.merge("file.pcap")),  # type: ignore[arg-type]
        (TypeError, lambda: aiopcap.merge(taken)),  # type: ignore[arg-type]
        (TypeError, lambda: aiopcap.merge(free, max_delay="1")),  # type: ignore[arg-type]
    ]
    for error, call in refused:
        with pytest.raises(error):
            call()
    assert (await free.receive()).timestamp_ns == SECOND
    await free.aclose()
    await taken.aclose()


async def test_what_a_capture_has_in_hand_comes_too() -> None:
    captures = await opened(pcap_bytes(at(1, 3, 5)), pcap_bytes(at(2, 4, 6)))
    assert (await captures[0].receive()).timestamp_ns == SECOND
    async with aiopcap.merge(*captures) as merge:
        assert await seconds(merge) == [2, 3, 4, 5, 6]


async def test_a_capture_that_is_closed_leaves_the_merge() -> None:
    with pipe() as (reader, writer):
        io.FileIO(writer, "w", closefd=False).write(pcap_bytes([]))
        silent = await aiopcap.open_offline(reader)
        async with aiopcap.merge(silent, *await opened(pcap_bytes(at(1, 2)))) as merge:
            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    got: list[int] = []

                    async def read() -> None:
                        got.extend(await seconds(merge))

                    tasks.start_soon(read)
                    await wait_all_tasks_blocked()
                    assert got == []
                    await silent.aclose()
            assert got == [1, 2]


async def test_filters_of_the_captures() -> None:
    files = [
        pcap_bytes([Record(2 * n + k, udp_frame() if n % 2 else frame()) for n in range(2000)])
        for k in range(2)
    ]
    captures = [await aiopcap.open_offline(files[0], filter="udp"), *await opened(files[1])]
    await captures[1].set_filter("not udp")
    async with aiopcap.merge(*captures, names=["udp", "rest"]) as merge:
        got = {(packet.interface, packet.data[12:14]) async for packet in merge}
    assert got == {("udp", b"\x08\x00"), ("rest", struct.pack("!H", 0x88B5))}
    nothing = [await aiopcap.open_offline(file, filter="less 3") for file in files]
    async with aiopcap.merge(*nothing) as merge:
        assert await seconds(merge) == []


async def test_packets_that_are_there_already() -> None:
    async with await merged(at(1), at(2)) as merge:
        assert merge.receive_nowait().timestamp_ns == SECOND
        assert merge.receive_nowait().timestamp_ns == 2 * SECOND
        with pytest.raises(anyio.EndOfStream):
            merge.receive_nowait()
    with pipe() as (reader, writer):
        io.FileIO(writer, "w", closefd=False).write(pcap_bytes([]))
        captures = [await aiopcap.open_offline(reader), *await opened(pcap_bytes(at(1)))]
        async with aiopcap.merge(*captures) as merge:
            with pytest.raises(anyio.WouldBlock):
                merge.receive_nowait()


async def test_a_loop_over_packets_lets_others_run() -> None:
    files = [[Record(2 * n + k, b"") for n in range(30_000)] for k in range(2)]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with await merged(*files) as merge, anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        await checkpoints(1)
        before = turns
        async for packet in merge:
            last = packet
        tasks.cancel_scope.cancel()
    assert last.timestamp_ns == 59_999
    # 60 000 packets at 0.2 µs or more are twelve milliseconds, and one has its turn in each half.
    assert turns - before > 10


async def test_a_followed_file_is_waited_for_only_so_long(tmp_path: Path) -> None:
    growing, other = tmp_path / "growing.pcap", tmp_path / "other.pcap"
    growing.write_bytes(pcap_bytes(records(numbered(1))))
    other.write_bytes(pcap_bytes(records(numbered(3))))
    captures = [
        await aiopcap.open_offline(growing, follow=True),
        await aiopcap.open_offline(other),
    ]
    async with aiopcap.merge(*captures) as merged:
        assert [number_of((await merged.receive()).data) for _ in range(4)] == [0, 0, 1, 2]
