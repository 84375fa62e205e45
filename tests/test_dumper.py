"""What a dumper writes, read back by others and compared with what libpcap writes."""

from __future__ import annotations

import csv
import io
import os
import struct
import subprocess
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

import aiopcap
from aiopcap import LinkType, Packet
from tests.reading import as_records, filled, read_all
from tests.support.frames import frame, numbered
from tests.support.libpcap import libpcap_read
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.programs import run_python
from tests.support.resources import open_descriptors
from tests.support.witnesses import require_program, tcpdump_records, tshark_fields

pytestmark = pytest.mark.anyio

Precision = Literal["nano", "micro"]
precisions = pytest.mark.parametrize("precision", ["nano", "micro"])

TIMES_NS = (0, 1_700_000_000_123_456_789, 2**31 * 10**9 + 1, (2**32 - 1) * 10**9 + 999_999_999)
PACKETS = [
    Packet(frame(bytes([number]), size=60 + number), timestamp_ns=time_ns, wire_length=9000)
    for number, time_ns in enumerate(TIMES_NS)
]


async def dumped(packets: list[Packet], **options: Any) -> bytes:
    """What a dumper makes of packets."""
    target = io.BytesIO()
    options = {"linktype": LinkType.EN10MB} | options
    async with await aiopcap.dump_open(target, **options) as dumper:
        for packet in packets:
            await dumper.send(packet)
    return target.getvalue()


def libpcaps_copy(savefile: Path, precision: Precision) -> bytes:
    """The file as libpcap writes it, by way of tcpdump."""
    option = [f"--time-stamp-precision={precision}"]
    argv = [require_program("tcpdump"), *option, "-r", "-", "-w", "-"]
    with savefile.open("rb") as file:
        done = subprocess.run(argv, stdin=file, capture_output=True, check=True)
    return done.stdout


# --- the bytes --------------------------------------------------------------------------------


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


# --- refused before anything is written -------------------------------------------------------


REFUSED = {
    "more captured than there was": (Packet(b"12345", wire_length=4), "wire length of 4"),
    "before 1970": (Packet(b"x", timestamp_ns=-1), "1970"),
    "after 2106": (Packet(b"x", timestamp_ns=2**32 * 10**9), "2106"),
    "long after 2106": (Packet(b"x", timestamp_ns=2**63 - 1), "2106"),
    "more than the snaplen": (Packet(bytes(65)), "snaplen of 64"),
    "another link type": (Packet(b"x", linktype=LinkType.RAW), "RAW"),
    "another link type, as a number": (Packet(b"x", linktype=101), "101"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_packet_that_contradicts_itself_or_the_file(name: str) -> None:
    packet, words = REFUSED[name]
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, linktype=1, snaplen=64) as dumper:
        await dumper.send(Packet(b"before"))
        for _ in range(2):
            with pytest.raises(ValueError, match=words) as caught:
                await dumper.send(packet)
            assert not isinstance(caught.value, aiopcap.PcapError)
        await dumper.send(Packet(b"after"))
    assert [record.data for record in read_pcap(target.getvalue()).records] == [b"before", b"after"]


@pytest.mark.parametrize(
    ("odd", "options", "words"),
    [
        (Record(0, b"0123456789", 5), {}, "packet 2 .*wire length of 5"),
        (Record(0, bytes(200)), {"snaplen": 100}, "snaplen of 100"),
    ],
)
async def test_a_batch_with_one_wrong_packet_is_refused_whole(
    odd: Record, options: dict[str, Any], words: str
) -> None:
    content = pcap_bytes([Record(0, b"a"), Record(1, b"b"), odd, Record(2, b"c")])
    target = io.BytesIO()
    async with await aiopcap.open_offline(content) as capture:
        batch = await capture.receive_batch()
        async with await aiopcap.dump_open(target, linktype=1, **options) as dumper:
            with pytest.raises(ValueError, match=words):
                await dumper.send_batch(batch)
            await dumper.send_batch(batch[3:])
    assert [record.data for record in read_pcap(target.getvalue()).records] == [b"c"]


async def test_a_batch_of_another_link_type_is_refused() -> None:
    async with await aiopcap.open_offline(pcap_bytes(records([b"x"]), linktype=113)) as capture:
        batch = await capture.receive_batch()
    async with await aiopcap.dump_open(io.BytesIO(), linktype=1) as dumper:
        with pytest.raises(ValueError, match="LINUX_SLL"):
            await dumper.send_batch(batch)
        assert dumper.tell() == 24


async def test_the_largest_times_and_lengths_are_written() -> None:
    packet = Packet(b"x", timestamp_ns=2**32 * 10**9 - 1, wire_length=2**32 - 1)
    content = await dumped([packet])
    assert as_records((await read_all(content)).packets) == as_records([packet])


@pytest.mark.parametrize("thing", [b"bytes", None, 5, "text"])
async def test_what_is_no_packet(thing: Any) -> None:
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, linktype=1) as dumper:
        with pytest.raises((TypeError, AttributeError)):
            await dumper.send(thing)
        with pytest.raises((TypeError, AttributeError)):
            await dumper.send_batch(thing)
    assert len(target.getvalue()) == 24


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "pico"}, "precision"),
        ({"precision": None}, "precision"),
        ({"snaplen": 0}, "snaplen"),
        ({"snaplen": -1}, "snaplen"),
        ({"snaplen": 2**31}, "snaplen"),
        ({"linktype": -1}, "LinkType"),
        ({"linktype": "EN10MB"}, "LinkType"),
        ({"linktype": 2**16}, "65536"),
    ],
)
async def test_wrong_options_leave_the_file_alone(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    before = open_descriptors()
    with pytest.raises(ValueError, match=words):
        await aiopcap.dump_open(path, **({"linktype": 1} | options))
    assert path.read_bytes() == b"precious"
    assert open_descriptors() == before


# --- telling, flushing ------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
async def test_flushed_bytes_are_in_the_file(sync: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        assert dumper.tell() == 24
        for number, packet in enumerate(PACKETS):
            await dumper.send(packet)
            if number % 2:
                await dumper.flush(sync=sync)
                assert path.stat().st_size == dumper.tell()
                assert len(libpcap_read(path).packets) == number + 1
    assert path.stat().st_size == dumper.tell()


async def test_tell_counts_what_is_not_yet_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        expected = 24
        for packet in PACKETS * 10_000:
            await dumper.send(packet)
            expected += 16 + len(packet)
            assert dumper.tell() == expected
    assert path.stat().st_size == expected


async def test_what_a_dumper_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=12, snaplen=99, precision="micro") as dumper:
        assert dumper.linktype is LinkType.RAW
        assert (dumper.snaplen, dumper.precision) == (99, "micro")
        assert "file.pcap" in repr(dumper)
    assert "closed" in repr(dumper)


# --- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path, anyio.Path])
async def test_a_path_is_created_or_emptied(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(bytes(100_000))
    for _ in range(2):
        async with await aiopcap.dump_open(kind(path), linktype=1) as dumper:
            await dumper.send(PACKETS[0])
        assert (await read_all(path)).packets == PACKETS[:1]
        path.unlink()


async def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1):
            assert (tmp_path / "file.pcap").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


async def test_a_descriptor_stays_open_and_is_written_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"before ")
        file.flush()
        async with await aiopcap.dump_open(file.fileno(), linktype=1) as dumper:
            await dumper.send(PACKETS[0])
        file.write(b" after")
    content = path.read_bytes()
    assert content.startswith(b"before ")
    assert content.endswith(b" after")
    assert len(read_pcap(content[7:-6]).records) == 1


@pytest.mark.parametrize("buffering", [0, -1])
async def test_a_file_object_stays_open(buffering: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=buffering) as file:
        async with await aiopcap.dump_open(file, linktype=1) as dumper:
            await dumper.send(PACKETS[0])
            await dumper.flush(sync=True)
            assert path.stat().st_size == dumper.tell()
            await dumper.send(PACKETS[1])
        assert not file.closed
        assert path.stat().st_size == dumper.tell()
    assert (await read_all(path)).packets == PACKETS[:2]


class Simple:
    """The least that can be written to; takes a few bytes a time, or says nothing."""

    def __init__(self, most: int | None) -> None:
        self.content = bytearray()
        self._most = most

    def write(self, data: memoryview) -> int | None:
        self.content += data[: self._most]
        return None if self._most is None else len(data[: self._most])


@pytest.mark.parametrize("most", [None, 1, 7, 10_000])
async def test_an_object_that_can_only_write(most: int | None) -> None:
    target = Simple(most)
    async with await aiopcap.dump_open(target, linktype=1) as dumper:
        for packet in PACKETS:
            await dumper.send(packet)
        await dumper.flush(sync=True)
    assert bytes(target.content) == await dumped(PACKETS)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_standard_output(backend: str) -> None:
    printed = run_python(
        f"""
        import os
        import anyio, aiopcap

        async def main():
            async with await aiopcap.dump_open("-", linktype=1) as dumper:
                await dumper.send(aiopcap.Packet(b"data"))
            os.write(1, b"still open")

        anyio.run(main, backend={backend!r})
        """
    )
    assert printed.endswith(b"still open")
    assert [record.data for record in read_pcap(printed[:-10]).records] == [b"data"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", IsADirectoryError),
        ("missing/file.pcap", FileNotFoundError),
        ("x" * 300, OSError),
    ],
)
async def test_a_path_that_cannot_be_written(
    name: str, error: type[OSError], tmp_path: Path
) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        await aiopcap.dump_open(tmp_path / name, linktype=1)
    assert str(tmp_path) in str(caught.value)
    assert open_descriptors() == before


@pytest.mark.parametrize("target", [None, 1.5, [1], object()], ids=repr)
async def test_what_is_no_target(target: Any) -> None:
    with pytest.raises(TypeError, match="written to a path"):
        await aiopcap.dump_open(target, linktype=1)


async def test_text_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="text mode"):
        await aiopcap.dump_open(io.StringIO(), linktype=1)
    with (tmp_path / "text").open("w") as file, pytest.raises(TypeError, match="text mode"):
        await aiopcap.dump_open(file, linktype=1)


async def test_descriptors_of_dumpers_are_not_inherited(tmp_path: Path) -> None:
    before = open_descriptors().keys()
    async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1):
        [fd] = open_descriptors().keys() - before
        assert not os.get_inheritable(fd)
