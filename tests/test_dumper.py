"""What a dumper writes, read back by others and compared with what libpcap writes."""

from __future__ import annotations

import csv
import io
import os
import struct
import subprocess
from pathlib import Path
from typing import Literal

import pytest

import aiopcap
from aiopcap import LinkType, Packet
from tests.dumping import PACKETS, dumped
from tests.reading import filled, read_all
from tests.support.frames import frame, numbered
from tests.support.libpcap import libpcap_read
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.witnesses import require_program, tcpdump_records, tshark_fields

pytestmark = pytest.mark.anyio


Precision = Literal["nano", "micro"]


precisions = pytest.mark.parametrize("precision", ["nano", "micro"])


def libpcaps_copy(savefile: Path, precision: Precision) -> bytes:
    """The file as libpcap writes it, by way of tcpdump."""
    option = [f"--time-stamp-precision={precision}"]
    argv = [require_program("tcpdump"), *option, "-r", "-", "-w", "-"]
    with savefile.open("rb") as file:
        done = subprocess.run(argv, stdin=file, capture_output=True, check=True)
    return done.stdout


@precisions
async def test_an_independent_reader_finds_every_field(precision: Precision) -> None:
    found = read_pcap(await dumped(PACKETS, precision=precision, snaplen=1234))
    assert (found.version, found.snaplen, found.linktype) == ((2, 4), 1234, 1)
    assert (found.precision, found.modified, found.complete) == (precision, False, True)
    unit = 1 if precision == "nano" else 1000
    expected = [Record(packet.timestamp_ns // unit * unit, packet.data, 9000) for packet in PACKETS]
    assert found.records == expected


async def test_the_default_is_nanoseconds_and_a_large_snaplen() -> None:
    content = await dumped([])
    assert content == struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)


@precisions
async def test_the_bytes_are_libpcaps_own(precision: Precision, tmp_path: Path) -> None:
    source = tmp_path / "source.pcap"
    packets = records(numbered(50), step_ns=1_000_000_007)
    source.write_bytes(pcap_bytes(packets, precision="nano", order="big", snaplen=65535))
    copy = tmp_path / "copy.pcap"
    async with (
        await aiopcap.open_offline(source) as capture,
        await capture.dump_open(copy, precision=precision) as dumper,
    ):
        async for packet in capture:
            await dumper.send(packet)
    assert copy.read_bytes() == libpcaps_copy(source, precision)


@precisions
async def test_captures_made_by_others_are_copied_as_libpcap_copies_them(
    corpus: Path, precision: Precision, tmp_path: Path
) -> None:
    with (corpus / "tcpdump" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as lines:
        names = [row["file"] for row in csv.DictReader(lines, delimiter="\t")]
    copied = 0
    for name in names[:: 25 if precision == "nano" else 50]:
        source = corpus / "tcpdump" / name
        target = tmp_path / "copy.pcap"
        # More captured than there was on the wire, which libpcap copies unseen.
        if any(len(packet.data) > (packet.wire_length or 0) for packet in libpcap_read(source)[0]):
            continue
        async with (
            await aiopcap.open_offline(source) as capture,
            await capture.dump_open(target, precision=precision) as dumper,
        ):
            async for batch in capture.batches():
                await dumper.send_batch(batch)
        copy, expected = target.read_bytes(), libpcaps_copy(source, precision)
        assert (copy[:23], copy[24:]) == (expected[:23], expected[24:]), name
        copied += 1
    assert copied >= 8


async def test_the_length_of_the_checksum_in_the_header_is_copied(tmp_path: Path) -> None:
    # The upper bits of the link type say how much of a frame's checksum was captured.
    source = tmp_path / "source.pcap"
    source.write_bytes(pcap_bytes(records([frame()]), linktype=0x34000001, precision="nano"))
    copy = tmp_path / "copy.pcap"
    async with (
        await aiopcap.open_offline(source) as capture,
        await capture.dump_open(copy) as dumper,
    ):
        await dumper.send(await capture.receive())
    assert copy.read_bytes() == libpcaps_copy(source, "nano")


async def test_tcpdump_and_tshark_read_it_back(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    packets = [
        Packet(data, timestamp_ns=1_700_000_000_000_000_001 * (number + 1) // (number + 1))
        for number, data in enumerate(numbered(20))
    ]
    path.write_bytes(await dumped(packets))
    expected = [(packet.timestamp_ns, packet.data) for packet in packets]
    assert [found[:2] for found in tcpdump_records(path)] == expected
    rows = tshark_fields(path, "frame.time_epoch", "frame.len", "frame.cap_len")
    assert rows == [("1700000000.000000001", "60", "60")] * 20


@precisions
@pytest.mark.parametrize("linktype", [LinkType.RAW, LinkType.LINUX_SLL2, LinkType(147)])
async def test_link_types_have_their_numbers_for_files(
    linktype: LinkType, precision: Precision, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(await dumped([Packet(b"x")], linktype=linktype, precision=precision))
    assert libpcap_read(path).linktype == linktype
    async with await aiopcap.open_offline(path) as capture:
        assert capture.linktype == linktype


async def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(await dumped(PACKETS))
    assert (await read_all(path)).packets == PACKETS


async def test_a_batch_is_written_like_its_packets() -> None:
    content = pcap_bytes(records(numbered(1000)), precision="nano")
    target = io.BytesIO()
    async with (
        await aiopcap.open_offline(content) as capture,
        await capture.dump_open(target) as dumper,
    ):
        await dumper.send(await capture.receive())
        async for batch in capture.batches(7):
            await dumper.send_batch(batch[:3])
            await dumper.send_batch(batch[3:])
            await dumper.send_batch(batch[:0])
    assert target.getvalue() == content


async def test_chosen_packets_of_a_batch_are_written_in_their_order() -> None:
    frames = numbered(100)
    target = io.BytesIO()
    async with (
        await aiopcap.open_offline(pcap_bytes(records(frames))) as capture,
        await capture.dump_open(target) as dumper,
    ):
        batch = await capture.receive_batch()
        await dumper.send_batch(batch[::-3])
        await dumper.send_batch(batch[10:20:2])
    written = [record.data for record in read_pcap(target.getvalue()).records]
    assert written == frames[::-3] + frames[10:20:2]


@pytest.mark.parametrize("way", ["send", "send_batch"])
async def test_packets_larger_than_every_buffer(way: str, tmp_path: Path) -> None:
    path = tmp_path / "large.pcap"
    packets = [
        Record(number, os.urandom(1000) * thousands)
        for number, thousands in enumerate((1, 1100, 3, 5000, 0, 2500))
    ]
    content = pcap_bytes(packets, precision="nano", linktype=231, snaplen=1 << 27)
    async with (
        await aiopcap.open_offline(content) as capture,
        await capture.dump_open(path) as dumper,
    ):
        async for batch in capture.batches():
            if way == "send_batch":
                await dumper.send_batch(batch)
            else:
                for packet in batch:
                    await dumper.send(packet)
    assert path.read_bytes() == content
    assert libpcap_read(path).packets == filled(packets)


async def test_many_small_packets_cross_every_buffer(tmp_path: Path) -> None:
    path = tmp_path / "many.pcap"
    content = pcap_bytes(records([b"x" * (number % 97) for number in range(60_000)]))
    async with (
        await aiopcap.open_offline(content) as capture,
        await capture.dump_open(path, precision="micro") as dumper,
    ):
        async for packet in capture:
            await dumper.send(packet)
            if packet.timestamp_ns % 97_000_000 == 0:
                await dumper.flush()
    assert path.read_bytes() == content
