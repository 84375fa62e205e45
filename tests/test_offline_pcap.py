"""pcap files in every variant: byte orders, versions, link types, times; and what is none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

import aiopcap
from aiopcap import LinkType
from tests.reading import as_records, filled, read_all
from tests.support import pcapngfiles as ng
from tests.support.frames import frame, numbered
from tests.support.libpcap import libpcap_read
from tests.support.pcapfiles import (
    MAGIC_MICRO,
    MAGIC_NANO,
    ByteOrder,
    Precision,
    Record,
    pcap_bytes,
    pcap_header,
    pcap_record,
    records,
)
from tests.support.witnesses import tcpdump_records, tshark_fields

pytestmark = pytest.mark.anyio

ORDERS: list[ByteOrder] = ["little", "big"]

FRAMES = numbered(5, size=70)


def at_times(*times_ns: int) -> list[Record]:
    return [Record(time_ns, frame(), 60) for time_ns in times_ns]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("precision", "modified"), [("micro", False), ("nano", False), ("micro", True)]
)
async def test_every_variant_of_the_format_reads_the_same(
    order: ByteOrder, precision: Precision, modified: bool
) -> None:
    packets = records(FRAMES)
    content = pcap_bytes(packets, order=order, precision=precision, modified=modified)
    async with await aiopcap.open_offline(content) as capture:
        assert capture.timestamp_precision == (9 if precision == "nano" else 6)
        assert capture.byte_swapped == (order == "big")
        assert capture.version == (2, 4)
        assert capture.format == "pcap"
        assert capture.linktype is LinkType.EN10MB
        assert capture.snaplen == 262144 + (14 if modified else 0)  # as libpcap has it
        assert as_records([packet async for packet in capture]) == filled(packets)


@pytest.mark.parametrize("order", ORDERS)
async def test_nanoseconds_are_kept_and_microseconds_are_multiplied(order: ByteOrder) -> None:
    packet = Record(1_700_000_000_123_456_789, frame())
    [nano] = (await read_all(pcap_bytes([packet], order=order, precision="nano"))).packets
    [micro] = (await read_all(pcap_bytes([packet], order=order))).packets
    assert nano.timestamp_ns == 1_700_000_000_123_456_789
    assert micro.timestamp_ns == 1_700_000_000_123_456_000


async def test_a_file_without_packets_is_complete() -> None:
    assert await read_all(pcap_header()) == ([], None)


async def test_tcpdump_reads_the_same_bytes_and_times(tmp_path: Path) -> None:
    path = tmp_path / "nano.pcap"
    path.write_bytes(pcap_bytes(records(FRAMES, step_ns=1_000_001), precision="nano"))
    found = as_records((await read_all(path)).packets)
    assert [packet[:2] for packet in found] == [packet[:2] for packet in tcpdump_records(path)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("precision", ["micro", "nano"])
async def test_times_after_2038_and_up_to_2106_are_right(
    order: ByteOrder, precision: Precision
) -> None:
    seconds = (0, 2**31 - 1, 2**31, 2_177_452_800, 4_291_747_200, 2**32 - 1)
    times = [second * 1_000_000_000 + 999_999_000 for second in seconds]
    content = pcap_bytes(at_times(*times), order=order, precision=precision)
    packets = (await read_all(content)).packets
    assert [packet.timestamp_ns for packet in packets] == times
    assert packets[-1].datetime == dt.datetime(2106, 2, 7, 6, 28, 15, 999_999, tzinfo=dt.UTC)


async def test_tshark_agrees_on_times_after_2038(tmp_path: Path) -> None:
    path = tmp_path / "late.pcap"
    path.write_bytes(pcap_bytes(at_times(2**31 * 10**9 + 5, (2**32 - 1) * 10**9), precision="nano"))
    expected = [time.replace(".", "") for (time,) in tshark_fields(path, "frame.time_epoch")]
    assert [str(packet.timestamp_ns) for packet in (await read_all(path)).packets] == expected


async def test_a_fraction_of_more_than_a_second_is_counted_as_it_is() -> None:
    # Written by broken clocks; nothing is lost, and nothing is refused.
    content = pcap_header() + pcap_record(Record(0, b"x"))[:4]
    content += (1_500_000).to_bytes(4, "little") + pcap_record(Record(0, b"x"))[8:]
    [packet] = (await read_all(content)).packets
    assert packet.timestamp_ns == 1_500_000_000


@pytest.mark.parametrize("snaplen", [0, 64, 262144, 2**31 - 1, 2**31, 2**32 - 1])
async def test_packets_beyond_the_snaplen_are_cut_as_libpcap_cuts_them(
    snaplen: int, tmp_path: Path
) -> None:
    path = tmp_path / "snaplen.pcap"
    path.write_bytes(pcap_bytes(records([bytes(64), bytes(65), bytes(262144)]), snaplen=snaplen))
    witness = libpcap_read(path)
    async with await aiopcap.open_offline(path) as capture:
        assert capture.snaplen == witness.snaplen
        assert as_records([packet async for packet in capture]) == filled(witness.packets)


@pytest.mark.parametrize(("linktype", "longest"), [(LinkType.EN10MB, 78), (LinkType.NULL, 64)])
@pytest.mark.parametrize("order", ORDERS)
async def test_the_modified_format_allows_14_bytes_more_of_ethernet(
    order: ByteOrder, linktype: LinkType, longest: int, tmp_path: Path
) -> None:
    path = tmp_path / "modified.pcap"
    packets = records([bytes(64), bytes(78), bytes(79), bytes(100)])
    path.write_bytes(pcap_bytes(packets, order=order, modified=True, snaplen=64, linktype=linktype))
    witness = libpcap_read(path)
    assert [len(packet.data) for packet in witness.packets] == [64, longest, longest, longest]
    async with await aiopcap.open_offline(path) as capture:
        assert capture.snaplen == witness.snaplen
        assert as_records([packet async for packet in capture]) == filled(witness.packets)


async def test_odd_lengths_are_delivered_as_the_file_has_them() -> None:
    odd = [
        Record(0, b"", 0),
        Record(0, b"", 60),
        Record(0, b"0123456789", 5),  # captured more than there was
        Record(0, b"01", 2**32 - 1),
    ]
    assert as_records((await read_all(pcap_bytes(odd))).packets) == odd


@pytest.mark.parametrize(("linktype", "largest"), [(1, 2**18), (231, 2**24 + 1), (279, 2**23)])
async def test_the_largest_packet_of_a_link_type_is_read(
    linktype: int, largest: int, tmp_path: Path
) -> None:
    path = tmp_path / "large.pcap"
    whole = Record(0, bytes(largest), largest)
    path.write_bytes(pcap_bytes([whole], linktype=linktype, snaplen=largest))
    assert libpcap_read(path).packets == [whole]
    assert as_records((await read_all(path)).packets) == [whole]


@pytest.mark.parametrize("version", [(2, 0), (2, 2), (2, 3), (2, 4), (543, 0)])
async def test_old_versions_have_their_lengths_the_other_way_round(
    version: tuple[int, int], tmp_path: Path
) -> None:
    lengths = (4, 9) if version in {(2, 3), (2, 4)} else (9, 4)
    path = tmp_path / "old.pcap"
    head = b"".join(number.to_bytes(4, "little") for number in (1, 2, *lengths))
    path.write_bytes(pcap_header(version=version) + (head + b"data") * 2)
    async with await aiopcap.open_offline(path) as capture:
        assert capture.version == version
        found = as_records([packet async for packet in capture])
    assert found == [Record(1_000_002_000, b"data", 9)] * 2
    assert found == filled(libpcap_read(path).packets)


@pytest.mark.parametrize(
    ("number", "linktype"),
    [
        (1, LinkType.EN10MB),
        (101, LinkType.RAW),
        (113, LinkType.LINUX_SLL),
        (276, LinkType.LINUX_SLL2),
        (100, LinkType.ATM_RFC1483),
        (102, LinkType.SLIP_BSDOS),
        (147, LinkType(147)),
        (65535, LinkType(65535)),
        (0xF4000001, LinkType.EN10MB),  # the upper bits: how long the frames' checksum is
    ],
)
async def test_link_types_are_translated_as_libpcap_does(
    number: int, linktype: LinkType, tmp_path: Path
) -> None:
    path = tmp_path / "linktype.pcap"
    path.write_bytes(pcap_bytes(records([b"data"]), linktype=number))
    async with await aiopcap.open_offline(path) as capture:
        assert capture.linktype == linktype == libpcap_read(path).linktype
        [packet] = [packet async for packet in capture]
        assert packet.linktype == linktype


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\3\4" + bytes(40), "unknown file format"),
        (bytes(24), "unknown file format"),
        (pcap_header(magic=0xA1B2C3D5), "unknown file format"),
        (pcap_header(version=(1, 4)), "archaic pcap savefile format"),
        (pcap_header(version=(2, 5)), "unsupported pcap savefile version 2.5"),
        (pcap_header(version=(3, 0)), "unsupported pcap savefile version 3.0"),
        (pcap_header(linktype=0x00010001), "reserved bits not zero"),
        (ng.section(version=(0, 1)) + ng.interface(), "unsupported pcapng savefile version 0.1"),
        (ng.section(version=(1, 1)) + ng.interface(), "unsupported pcapng savefile version 1.1"),
        (ng.section(version=(2, 0)) + ng.interface(), "unsupported pcapng savefile version 2.0"),
        (ng.section() + ng.enhanced_packet(b"x", 0), "before any Interface Description Blocks"),
    ],
)
async def test_what_is_no_savefile_is_refused_when_it_is_opened(content: bytes, words: str) -> None:
    with pytest.raises(aiopcap.SavefileError, match=words) as caught:
        await aiopcap.open_offline(content)
    assert not isinstance(caught.value, EOFError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 23])
@pytest.mark.parametrize("magic", [MAGIC_MICRO, MAGIC_NANO])
async def test_a_cut_header_is_truncated(magic: int, length: int) -> None:
    with pytest.raises(aiopcap.TruncatedSavefileError, match="truncated") as caught:
        await aiopcap.open_offline(pcap_header(magic=magic)[:length])
    assert isinstance(caught.value, EOFError)


async def test_the_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.touch()
    with pytest.raises(aiopcap.TruncatedSavefileError, match=r"empty\.pcap: truncated"):
        await aiopcap.open_offline(path)
