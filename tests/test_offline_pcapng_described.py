"""pcapng: comments and options of packets, and what a file tells of sections and interfaces."""

from __future__ import annotations

import pickle
import struct

import pytest

import aiopcap
from aiopcap import Interface, InterfaceStatistics, LinkType, Option, Packet
from tests.reading import read_all
from tests.savefile_samples import SAMPLES
from tests.support import pcapngfiles as ng
from tests.support.pcapfiles import ByteOrder

pytestmark = pytest.mark.anyio

ORDERS: list[ByteOrder] = ["little", "big"]
SIGNS = {"little": "<", "big": ">"}
NATIVE = "="


def options(order: ByteOrder, *pairs: tuple[int, bytes], end: bool = True) -> bytes:
    made = b"".join(ng.option(code, value, order=order) for code, value in pairs)
    return made + (ng.option(0, b"", order=order) if end else b"")


@pytest.mark.parametrize("size", range(5))
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("order", ORDERS)
async def test_comments_are_kept_in_either_byte_order(
    order: ByteOrder, end: bool, size: int
) -> None:
    data = b"abcde"[:size]
    told = options(order, (1, "grüße".encode()), (1, b"2nd"), end=end)
    content = ng.section(order=order) + ng.interface(order=order)
    content += ng.enhanced_packet(data, 1, order=order, options=told)
    content += ng.enhanced_packet(b"none", 2, order=order)
    first, second = (await read_all(content)).packets
    assert (first.data, first.comments) == (data, ("grüße", "2nd"))
    assert first.options == (Option(1, "grüße".encode()), Option(1, b"2nd"))
    assert (second.comments, second.options) == ((), ())


@pytest.mark.parametrize("order", ORDERS)
async def test_numbers_in_a_packets_options_are_in_this_machines_order(order: ByteOrder) -> None:
    sign = SIGNS[order]

    def numbers(sign: str) -> list[tuple[int, bytes]]:
        return [
            (2, struct.pack(f"{sign}I", 0x01020304)),
            (4, struct.pack(f"{sign}Q", 0x0102030405060708)),
            (5, struct.pack(f"{sign}Q", 7)),
            (6, struct.pack(f"{sign}I", 9)),
            (3, b"\x02hash"),
            (2989, struct.pack(f"{sign}I", 32473) + b"private"),
        ]

    content = ng.section(order=order) + ng.interface(order=order)
    told = options(order, *numbers(sign))
    content += ng.enhanced_packet(b"abc", 1, order=order, options=told)
    [packet] = (await read_all(content)).packets
    assert packet.options == tuple(Option(*pair) for pair in numbers(NATIVE))


@pytest.mark.parametrize("order", ORDERS)
async def test_options_behind_one_that_runs_past_its_block_are_not_read(order: ByteOrder) -> None:
    broken = options(order, (1, b"good"), end=False)
    broken += struct.pack(f"{SIGNS[order]}HH", 1, 4000) + b"beyond, and more"
    content = ng.section(order=order) + ng.interface(order=order)
    content += ng.enhanced_packet(b"abc", 1, order=order, options=broken)
    [packet] = (await read_all(content)).packets
    assert packet.comments == ("good",)


async def test_options_follow_their_packets_through_slices_filters_and_pickles() -> None:
    content = ng.section() + ng.interface()
    for number in range(10):
        told = options("little", (1, str(number).encode())) if number % 3 else b""
        content += ng.enhanced_packet(bytes(number), number, options=told)
    async with await aiopcap.open_offline(content) as capture:
        batch = await capture.receive_batch()
    comments = [() if number % 3 == 0 else (str(number),) for number in range(10)]

    def of(packets: aiopcap.PacketBatch) -> list[tuple[str, ...]]:
        return [packet.comments for packet in packets]

    assert of(batch) == comments
    assert of(batch[2:7]) == comments[2:7]
    assert of(batch[::-2]) == comments[::-2]
    assert of(pickle.loads(pickle.dumps(batch[1:]))) == comments[1:]
    chosen = aiopcap.compile("greater 6", linktype=LinkType.EN10MB).select(batch)
    assert of(chosen) == comments[6:]
    assert pickle.loads(pickle.dumps(batch[4])).comments == ("4",)


def test_a_packet_is_given_other_comments_and_options() -> None:
    packet = Packet(b"abc", timestamp_ns=5, wire_length=9, linktype=LinkType.RAW, interface="eth0")
    told = packet.with_options([(2, b"\1\0\0\0"), (1, b"old")])
    assert told.options == (Option(2, b"\1\0\0\0"), Option(1, b"old"))
    other = told.with_comments("new", "ümlaut")
    assert other.comments == ("new", "ümlaut")
    assert other.options[-1] == Option(2, b"\1\0\0\0")
    assert other == packet
    assert (other.linktype, other.interface) == (packet.linktype, packet.interface)
    assert told.comments == ("old",)
    assert other.with_options([]).options == ()


@pytest.mark.parametrize(("code", "value"), [(0, b""), (2**16, b""), (-1, b""), (1, bytes(2**16))])
def test_an_option_that_fits_in_no_file_is_refused(code: int, value: bytes) -> None:
    with pytest.raises(ValueError, match="option"):
        Packet(b"abc").with_options([(code, value)])


@pytest.mark.parametrize("order", ORDERS)
async def test_sections_interfaces_and_statistics_are_told(order: ByteOrder) -> None:
    sign = SIGNS[order]
    section = struct.pack(f"{sign}IHHq", 0x1A2B3C4D, 1, 0, -1)
    section += options(order, (2, b"a machine"), (3, b"an os"), (4, b"a program"), (1, b"remark"))
    interface = struct.pack(f"{sign}HHI", 101, 0, 1000)
    interface += options(
        order,
        (2, b"tun0"),
        (3, b"a tunnel"),
        (9, b"\x09"),
        (11, b"\0tcp"),
        (12, b"its os"),
        (14, struct.pack(f"{sign}q", 100)),
        (15, b"its card"),
        (1, b"dusty"),
    )
    counted = struct.pack(f"{sign}III", 0, 0, 5)
    counted += options(
        order,
        (2, struct.pack(f"{sign}II", 0, 3)),
        (3, struct.pack(f"{sign}II", 1, 0)),
        *((code, struct.pack(f"{sign}Q", code * 10)) for code in range(4, 9)),
    )
    content = ng.block(0x0A0D0D0A, section, order=order) + ng.block(1, interface, order=order)
    content += ng.enhanced_packet(b"x", 1, order=order) + ng.block(5, counted, order=order)
    content += ng.block(4, bytes(4), order=order) + ng.block(10, bytes(8), order=order)
    content += ng.section() + ng.interface(linktype=1)
    async with await aiopcap.open_offline(content) as capture:
        assert len([packet async for packet in capture]) == 1
        first, second = capture.sections
        tunnel, other = capture.interfaces
        assert capture.skipped_blocks == 2
    assert (first.byte_order, first.hardware, first.os, first.application, first.comments) == (
        order,
        "a machine",
        "an os",
        "a program",
        ("remark",),
    )
    assert (second.byte_order, second.options) == ("little", ())
    assert (tunnel.name, tunnel.description, tunnel.filter, tunnel.os, tunnel.hardware) == (
        "tun0",
        "a tunnel",
        "tcp",
        "its os",
        "its card",
    )
    assert (tunnel.linktype, tunnel.snaplen, tunnel.ticks_per_second) == (LinkType.RAW, 1000, 10**9)
    assert (tunnel.section, tunnel.offset_seconds, tunnel.comments) == (0, 100, ("dusty",))
    second_ns = 100 * 10**9
    assert tunnel.statistics == InterfaceStatistics(
        second_ns + 5, second_ns + 3, second_ns + 2**32, 40, 50, 60, 70, 80
    )
    assert other == Interface("0", 1, LinkType.EN10MB, 262144)


async def test_what_a_pcap_file_does_not_tell_is_empty() -> None:
    async with await aiopcap.open_offline(SAMPLES[0].content) as capture:
        assert (capture.sections, capture.interfaces, capture.skipped_blocks) == ((), (), 0)


async def test_statistics_of_an_unknown_interface_are_left_out() -> None:
    content = ng.section() + ng.interface() + ng.block(5, struct.pack("<III", 7, 0, 0))
    content += ng.block(5, b"shor")
    packets, error = await read_all(content)
    assert (packets, error) == ([], None)


async def test_options_do_not_fill_the_memory() -> None:
    remark = options("little", *((1, bytes(65532)) for _ in range(100)))
    section = ng.section()
    interface = ng.block(1, struct.pack("<HHI", 1, 0, 0) + remark)
    content = section + interface * 5
    async with await aiopcap.open_offline(content) as capture:
        assert [packet async for packet in capture] == []
        kept = [len(interface.options) for interface in capture.interfaces]
    assert kept == [100, 100, 0, 0, 0]


async def test_a_filter_is_compiled_for_each_link_type() -> None:
    ipv4 = b"\x45\0\0\x14" + bytes(5) + b"\x11" + bytes(10)
    frame = bytes(12) + b"\x08\0" + ipv4
    content = ng.section() + ng.interface() + ng.interface(linktype=101)
    for number in (0, 1, 1, 0):
        content += ng.enhanced_packet(ipv4 if number else frame, 1, interface_id=number)
        content += ng.enhanced_packet(bytes(60), 2, interface_id=number)
    async with await aiopcap.open_offline(content, filter="udp") as capture:
        found = [(packet.linktype, packet.data) async for packet in capture]
    ether, raw = (LinkType.EN10MB, frame), (LinkType.RAW, ipv4)
    assert found == [ether, raw, raw, ether]
    # Nothing of a datagram is an Ethernet address.
    async with await aiopcap.open_offline(content, filter="ether host 0:0:0:0:0:0") as capture:
        assert {packet.linktype async for packet in capture} == {LinkType.EN10MB}
