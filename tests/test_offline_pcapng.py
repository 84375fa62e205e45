"""pcapng files: byte orders, resolutions, interfaces, and damage."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import LinkType
from tests.reading import as_records, filled, read_all
from tests.support import pcapngfiles as ng
from tests.support.frames import numbered
from tests.support.libpcap import libpcap_read
from tests.support.pcapfiles import (
    ByteOrder,
    Record,
)

pytestmark = pytest.mark.anyio

ORDERS: list[ByteOrder] = ["little", "big"]

FRAMES = numbered(5, size=70)


@pytest.mark.parametrize("order", ORDERS)
async def test_pcapng_in_both_byte_orders(order: ByteOrder, tmp_path: Path) -> None:
    path = tmp_path / "order.pcapng"
    content = ng.section(order=order) + ng.interface(order=order)
    for number, data in enumerate(FRAMES):
        ticks = 1_700_000_000_000_000 + number
        content += ng.enhanced_packet(data, ticks, order=order, wire_length=len(data) + number)
    content += ng.simple_packet(b"simple", order=order, wire_length=6)
    path.write_bytes(content)
    async with await aiopcap.open_offline(path) as capture:
        assert (capture.format, capture.version) == ("pcapng", (1, 0))
        assert capture.byte_swapped == (order == "big")
        found = as_records([packet async for packet in capture])
    assert found == filled(libpcap_read(path).packets)
    assert found[-1] == Record(0, b"simple", 6)


async def test_sections_of_both_byte_orders_in_one_file() -> None:
    content = b""
    for order in (*ORDERS, *ORDERS):
        content += ng.section(order=order) + ng.interface(order=order)
        content += ng.enhanced_packet(order.encode(), 1, order=order)
    packets = (await read_all(content)).packets
    assert [packet.data for packet in packets] == [b"little", b"big"] * 2


@pytest.mark.parametrize(
    ("tsresol", "ticks", "time_ns"),
    [
        (None, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (0, 1_700_000_000, 1_700_000_000_000_000_000),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (12, 1_700_000_000_123_456_789, 1_700_000_000_123_456),
        (0x80, 1_700_000_000, 1_700_000_000_000_000_000),
        (0x80 | 10, 1_700_000_000 << 10 | 512, 1_700_000_000_500_000_000),
        (0x80 | 32, 1_700_000_000 << 32 | 1 << 30, 1_700_000_000_250_000_000),
    ],
)
async def test_time_resolutions(
    tsresol: int | None, ticks: int, time_ns: int, tmp_path: Path
) -> None:
    path = tmp_path / "resolution.pcapng"
    path.write_bytes(ng.section() + ng.interface(tsresol=tsresol) + ng.enhanced_packet(b"x", ticks))
    [packet] = (await read_all(path)).packets
    assert packet.timestamp_ns == time_ns == libpcap_read(path).packets[0].timestamp_ns


@pytest.mark.parametrize("tsresol", [20, 127, 0x80 | 64, 0xFF])
async def test_a_resolution_without_meaning_is_refused(tsresol: int) -> None:
    with pytest.raises(aiopcap.SavefileError, match="if_tsresol"):
        await aiopcap.open_offline(ng.section() + ng.interface(tsresol=tsresol))


@pytest.mark.parametrize("offset_s", [-1_000_000, -1, 1, 3600, 2**31])
async def test_time_offsets_are_whole_seconds_of_either_sign(offset_s: int) -> None:
    content = ng.section() + ng.interface(tsresol=9, tsoffset=offset_s)
    content += ng.enhanced_packet(b"x", 1_700_000_000_123_456_789)
    [packet] = (await read_all(content)).packets
    assert packet.timestamp_ns == (1_700_000_000 + offset_s) * 10**9 + 123_456_789


async def test_interfaces_may_differ_in_snaplen_and_resolution() -> None:
    content = ng.section() + ng.interface(snaplen=64, name="lan0")
    content += ng.interface(snaplen=1500, tsresol=9, name="wan0") + ng.interface(tsresol=3)
    for number, ticks in ((1, 10**18), (0, 10**15), (2, 10**12)):
        content += ng.enhanced_packet(b"x", ticks, interface_id=number)
    content += ng.section() + ng.interface(name="other") + ng.enhanced_packet(b"x", 10**15)
    packets = (await read_all(content)).packets
    assert [packet.timestamp_ns for packet in packets] == [10**18] * 4
    assert [packet.interface for packet in packets] == ["wan0", "lan0", "2", "other"]


async def test_interfaces_may_differ_in_link_type() -> None:
    content = ng.section() + ng.interface() + ng.enhanced_packet(b"frame", 1)
    content += ng.interface(linktype=101) + ng.enhanced_packet(b"datagram", 2, interface_id=1)
    content += ng.enhanced_packet(b"another", 3)
    content += ng.section() + ng.interface(linktype=113) + ng.enhanced_packet(b"cooked", 4)
    packets, error = await read_all(content)
    assert error is None
    kinds = [LinkType.EN10MB, LinkType.RAW, LinkType.EN10MB, LinkType.LINUX_SLL]
    assert [packet.linktype for packet in packets] == kinds
    async with await aiopcap.open_offline(content) as capture:
        assert capture.linktype is LinkType.EN10MB
        found = [(batch.linktype, len(batch)) async for batch in capture.batches()]
    assert found == [(kind, 1) for kind in kinds]


async def test_unknown_blocks_and_options_are_skipped() -> None:
    comment = ng.option(1, b"a comment") + ng.option(0, b"")
    content = ng.section() + ng.block(0x80000BAD, b"custom") + ng.interface(description="skipped")
    content += ng.block(5, bytes(12)) + ng.enhanced_packet(b"abc", 1, options=comment)
    content += ng.block(4, bytes(4)) + ng.block(0x7FFFFFFF, b"") + ng.enhanced_packet(b"d", 2)
    assert [packet.data for packet in (await read_all(content)).packets] == [b"abc", b"d"]


async def test_a_simple_packet_is_cut_at_the_snaplen(tmp_path: Path) -> None:
    path = tmp_path / "simple.pcapng"
    content = ng.section() + ng.interface(snaplen=6) + ng.simple_packet(b"012345", wire_length=90)
    path.write_bytes(content)
    assert as_records((await read_all(path)).packets) == [Record(0, b"012345", 90)]
    assert libpcap_read(path).packets == [Record(0, b"012345", 90)]


async def test_a_large_block_of_a_link_type_with_large_packets_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pcapng"
    large = bytes(17 * 1024 * 1024)
    path.write_bytes(
        ng.section() + ng.interface(linktype=231, snaplen=0) + ng.enhanced_packet(large, 0)
    )
    assert libpcap_read(path).packets == [Record(0, large, len(large))]
    assert as_records((await read_all(path)).packets) == [Record(0, large, len(large))]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (ng.block(6, bytes(16)), "has a length of"),
        (ng.enhanced_packet(b"x", 1, interface_id=1), "arrived on interface 1"),
        (ng.enhanced_packet(b"x", 1, interface_id=2**32 - 1), "arrived on interface 4294967295"),
        ((6).to_bytes(4, "little") + (8).to_bytes(4, "little") + bytes(12), "length of 8"),
        ((6).to_bytes(4, "little") + (33).to_bytes(4, "little") + bytes(40), "multiple of 4"),
        ((6).to_bytes(4, "little") + b"\xfc\xff\xff\xff" + bytes(40), "maximum"),
        (ng.enhanced_packet(b"xyz", 1)[:-4] + bytes(4), "header and trailer don't match"),
        (ng.section()[:8] + bytes(20), "byte order magic"),
        (ng.block(1, bytes(4)), "too short"),
        (ng.block(1, bytes(8) + b"\x09\0\xff\0"), "runs past its end"),
    ],
)
async def test_damage_in_a_block_comes_after_the_packets_before(damage: bytes, words: str) -> None:
    sound = ng.section() + ng.interface() + ng.enhanced_packet(b"sound", 1)
    packets, error = await read_all(sound + damage + ng.enhanced_packet(b"never", 2))
    assert [packet.data for packet in packets] == [b"sound"]
    assert error is not None
    assert words in str(error)
    assert not isinstance(error, EOFError)


async def test_a_section_without_interfaces_is_an_empty_file() -> None:
    async with await aiopcap.open_offline(ng.section(), filter="ether host 1:2:3:4:5:6") as capture:
        assert capture.interfaces == ()
        with pytest.raises(anyio.EndOfStream):
            await capture.receive()
