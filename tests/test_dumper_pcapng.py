"""Writing pcapng: what others read in it, and what the reader gets back."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiopcap
from aiopcap import Interface, InterfaceStatistics, LinkType, Option, Packet, Rotation
from tests.dumping import batch_of
from tests.reading import read_all
from tests.support import pcapngfiles as ng
from tests.support.frames import frame, numbered
from tests.support.libpcap import libpcap_read
from tests.support.pcapfiles import Record
from tests.support.reference_reader import read_savefile
from tests.support.witnesses import tshark_fields

pytestmark = pytest.mark.anyio

TIME_NS = 1_700_000_000_123_456_789

# Padded by nothing, one, two and three bytes; cut; of several link types and interfaces.
PACKETS = [
    Packet(frame(size=60), timestamp_ns=TIME_NS, linktype=LinkType.EN10MB, interface="lan"),
    Packet(frame(size=61), timestamp_ns=0, linktype=LinkType.EN10MB, wire_length=90),
    Packet(
        b"\x45" + bytes(29), timestamp_ns=2**62, linktype=LinkType.RAW, interface="tun"
    ).with_comments("a remark", "zwei"),
    Packet(frame(size=63), timestamp_ns=TIME_NS + 1, linktype=LinkType.EN10MB, interface="lan"),
]


def fields(packets: list[Packet]) -> list[tuple[object, ...]]:
    return [
        (
            packet.data,
            packet.timestamp_ns,
            packet.wire_length,
            packet.linktype,
            packet.interface,
            packet.options,
        )
        for packet in packets
    ]


async def write(target: object, packets: list[Packet], **options: object) -> None:
    async with await aiopcap.dump_open(target, format="pcapng", **options) as dumper:  # type: ignore[arg-type]  # of any kind
        for packet in packets:
            await dumper.send(packet)


async def made(packets: list[Packet], **options: object) -> bytes:
    target = io.BytesIO()
    await write(target, packets, **options)
    return target.getvalue()


async def test_another_program_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    await write(path, PACKETS)
    names = "frame.interface_name", "frame.cap_len", "frame.len", "frame.encap_type"
    found = tshark_fields(path, *names)
    assert found == [
        ("lan", "60", "60", "1"),
        ("unknown", "61", "90", "1"),
        ("tun", "30", "30", "7"),
        ("lan", "63", "63", "1"),
    ]
    [time] = tshark_fields(path, "frame.time_epoch")[:1]
    assert time == ("1700000000.123456789",)
    comments = tshark_fields(path, "frame.comment")
    assert comments[2] in {("a remark,zwei",), ("a remark", "zwei")}


async def test_what_was_written_is_read_again() -> None:
    content = await made(PACKETS)
    packets, error = await read_all(content)
    assert error is None
    # What has no name is called by its number.
    expected = fields(PACKETS)
    expected[1] = (*expected[1][:4], "1", ())
    assert fields(packets) == expected
    witness = read_savefile(content)
    assert (witness.end, list(witness.packets)) == (
        "complete",
        [Record(p.timestamp_ns, p.data, p.wire_length) for p in PACKETS],
    )


@pytest.mark.parametrize(("precision", "unit"), [("nano", 1), ("micro", 1000)])
async def test_libpcap_reads_one_link_type(precision: str, unit: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    packets = [
        Packet(data, timestamp_ns=TIME_NS + number) for number, data in enumerate(numbered(9))
    ]
    await write(path, packets, linktype=LinkType.EN10MB, precision=precision, snaplen=2000)
    reading = libpcap_read(path)
    assert (reading.error, reading.linktype, reading.snaplen) == (None, 1, 2000)
    times = [packet.timestamp_ns // unit * unit for packet in packets]
    assert [record.timestamp_ns for record in reading.packets] == times
    assert [record.data for record in reading.packets] == numbered(9)


async def test_batches_are_written_as_their_packets_are() -> None:
    comment = ng.option(1, b"hm") + ng.option(2, b"\1\0\0\0") + ng.option(0, b"")
    content = ng.section() + ng.interface(name="a") + ng.interface(name="b", linktype=101)
    for number in range(40):
        told = comment if number % 3 == 0 else b""
        data = frame(size=60 + number % 5)
        which = number // 10 % 2 if number < 20 else number % 2
        content += ng.enhanced_packet(data, 1000 + number, interface_id=which, options=told)
    singles, batches = io.BytesIO(), io.BytesIO()
    async with await aiopcap.open_offline(content) as capture:
        packets = [packet async for packet in capture]
    await write(singles, packets)
    async with (
        await aiopcap.open_offline(content) as capture,
        await capture.dump_open(batches, format="pcapng") as dumper,
    ):
        async for batch in capture.batches(7):
            await dumper.send_batch(batch[: len(batch) // 2])
            await dumper.send_batch(batch[len(batch) // 2 :])
    assert fields((await read_all(singles.getvalue())).packets) == fields(packets)
    assert fields((await read_all(batches.getvalue())).packets) == fields(packets)


async def test_what_is_known_of_interfaces_goes_along(tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    known = Interface(
        "lan",
        section=7,
        linktype=LinkType.EN10MB,
        snaplen=1500,
        description="upstairs",
        filter="udp",
        os="an os",
        hardware="a card",
        options=(Option(1, b"dusty"),),
    )
    silent = Interface("wan", section=0, linktype=LinkType.EN10MB, snaplen=0)
    await write(path, PACKETS[:1], interfaces=[silent, known], comments=["of the file"])
    async with await aiopcap.open_offline(path) as capture:
        await capture.receive()
        [interface], [section] = capture.interfaces, capture.sections
    assert (interface.name, interface.description, interface.filter) == ("lan", "upstairs", "udp")
    assert (interface.os, interface.hardware, interface.comments) == ("an os", "a card", ("dusty",))
    assert (interface.snaplen, interface.ticks_per_second) == (1500, 10**9)
    assert section.comments == ("of the file",)
    assert section.application is not None
    assert section.application.startswith("aiopcap ")
    assert tshark_fields(path, "frame.interface_description") == [("upstairs",)]


async def test_statistics_are_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    counted = InterfaceStatistics(TIME_NS, TIME_NS - 5, TIME_NS - 1, 10, 1, 9, 2, 7)
    few = InterfaceStatistics(TIME_NS, received=2**64 - 1)
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        assert dumper.format == "pcapng"
        await dumper.send(PACKETS[0])
        await dumper.send_statistics("lan", counted)
        await dumper.send_statistics("never seen", few)
    async with await aiopcap.open_offline(path) as capture:
        assert len([packet async for packet in capture]) == 1
        found = {interface.name: interface.statistics for interface in capture.interfaces}
    assert found == {"lan": counted, "never seen": few}
    assert len(tshark_fields(path, "frame.number")) == 1


async def test_each_file_of_a_rotation_describes_its_interfaces(tmp_path: Path) -> None:
    header = len(await made([]))
    packets = [*PACKETS * 3]
    limit = 400
    async with await aiopcap.dump_open(
        tmp_path / "part.pcapng", rotate=Rotation(max_bytes=limit)
    ) as dumper:
        for packet in packets:
            await dumper.send(packet)
    assert len(dumper.files) > 3
    found: list[Packet] = []
    for path in dumper.files:
        assert header < path.stat().st_size <= limit
        outcome = await read_all(path)
        assert outcome.error is None
        found += outcome.packets
        assert len(tshark_fields(path, "frame.number")) == len(outcome.packets)
    assert [packet.data for packet in found] == [packet.data for packet in packets]
    assert {packet.interface for packet in found} >= {"lan", "tun"}


async def test_a_batch_is_divided_between_the_files_of_a_rotation(tmp_path: Path) -> None:
    batch = await batch_of(100)
    async with await aiopcap.dump_open(
        tmp_path / "part.pcapng", linktype=1, rotate=Rotation(max_packets=7)
    ) as dumper:
        await dumper.send_batch(batch)
    counts = [len(tshark_fields(path, "frame.number")) for path in dumper.files]
    assert counts == [7] * 14 + [2]


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=70),
            st.integers(0, 2**63 - 1),
            st.sampled_from([None, "a", "b"]),
            st.sampled_from([LinkType.EN10MB, LinkType.RAW, LinkType.LINUX_SLL]),
            st.lists(st.text(max_size=9), max_size=3),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_packets_come_back(
    rows: list[tuple[bytes, int, str | None, LinkType, list[str]]],
) -> None:
    import anyio

    packets = [
        Packet(data, timestamp_ns=time, linktype=kind, interface=name).with_comments(*comments)
        for data, time, name, kind, comments in rows
    ]

    async def there_and_back() -> None:
        content = await made(packets)
        found = (await read_all(content)).packets
        assert found == packets
        assert [p.linktype for p in found] == [p.linktype for p in packets]
        assert [p.comments for p in found] == [p.comments for p in packets]
        named = [(p.interface, q.interface) for p, q in zip(packets, found, strict=True)]
        assert all(name == other for name, other in named if name is not None)
        assert read_savefile(content).end == "complete"

    anyio.run(there_and_back)


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Packet(b"abc"), "begins with"),
        (Packet(b"abc", wire_length=2, linktype=LinkType.RAW), "wire length"),
        (Packet(bytes(3001), linktype=LinkType.RAW), "snaplen"),
        (Packet(b"abc", timestamp_ns=-1, linktype=LinkType.RAW), "time stamp"),
    ],
)
async def test_a_packet_that_does_not_fit_is_refused(packet: Packet, words: str) -> None:
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, format="pcapng", snaplen=3000) as dumper:
        await dumper.send(PACKETS[0])
        with pytest.raises(ValueError, match=words):
            await dumper.send(packet)
        await dumper.send(PACKETS[3])
    found = (await read_all(target.getvalue())).packets
    assert found == [PACKETS[0], PACKETS[3]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "snoop"}, "format"),
        ({"format": "pcap"}, "linktype"),
        ({"format": "pcap", "linktype": 1, "comments": ["no"]}, "comments"),
        ({"format": "pcapng", "comments": ["x" * 70000]}, "too long"),
        ({"format": "pcapng", "precision": "milli"}, "precision"),
    ],
)
async def test_what_cannot_be_is_refused_before_the_file_is_touched(
    options: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match=words):
        await aiopcap.dump_open(path, **options)  # type: ignore[arg-type]  # of any kind
    assert path.read_bytes() == b"precious"


async def test_statistics_have_no_place_in_pcap() -> None:
    async with await aiopcap.dump_open(io.BytesIO(), linktype=1) as dumper:
        with pytest.raises(ValueError, match="pcapng"):
            await dumper.send_statistics("lan", InterfaceStatistics(0))


@pytest.mark.parametrize("name", ["a.pcapng", "b.PCAPNG"])
async def test_the_name_chooses_the_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        assert dumper.format == "pcapng"
    assert path.read_bytes()[:4] == b"\n\r\r\n"
    async with await aiopcap.dump_open(path, linktype=1, format="pcap") as dumper:
        assert dumper.format == "pcap"
    assert struct.unpack("=I", path.read_bytes()[:4]) == (0xA1B23C4D,)


async def test_a_full_disk_leaves_whole_blocks(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    dumper = await aiopcap.dump_open(writing, format="pcapng", linktype=1)
    os.close(writing)
    await dumper.send(PACKETS[0])
    with pytest.raises(aiopcap.SavefileWriteError):
        await dumper.aclose()
