"""Going on with a savefile that is there, whole or cut off, or refusing to."""

from __future__ import annotations

import functools
import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest

import aiopcap
from aiopcap import LinkType, Packet
from tests.dumping import HEADER, RECORD, batch_of, packets, send_all, written
from tests.reading import read_all
from tests.support.frames import numbered
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, pcap_record, records
from tests.support.pcapngfiles import interface, section
from tests.support.resources import open_descriptors
from tests.support.witnesses import tcpdump_count, tshark_fields

pytestmark = pytest.mark.anyio


async def append(path: Path, items: list[Packet], **options: Any) -> None:
    async with await aiopcap.dump_open(
        path, append=True, **({"linktype": LinkType.EN10MB} | options)
    ) as dumper:
        await send_all(dumper, items)


@pytest.mark.parametrize("precision", ["nano", "micro"])
async def test_a_file_goes_on(precision: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    for start in range(0, 50, 10):  # the first begins it
        await append(path, packets(10, start), precision=precision)
    assert written(path.read_bytes()) == list(range(50))
    assert tcpdump_count(path) == len(tshark_fields(path, "frame.number")) == 50


async def test_the_bytes_are_those_of_one_dumper(tmp_path: Path) -> None:
    batch = await batch_of(20)
    async with await aiopcap.dump_open(tmp_path / "one", linktype=1) as dumper:
        await dumper.send_batch(batch)
        await dumper.send_batch(batch)
    for _ in range(2):
        async with await aiopcap.dump_open(tmp_path / "two", linktype=1, append=True) as dumper:
            await dumper.send_batch(batch)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


async def test_an_empty_file_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.touch()
    await append(path, packets(1))
    assert written(path.read_bytes()) == [0]


async def test_without_packets_a_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    content = pcap_bytes(records(numbered(5)), precision="nano")
    path.write_bytes(content)
    await append(path, [])
    assert path.read_bytes() == content
    await append(tmp_path / "new", [])
    assert (tmp_path / "new").read_bytes() == content[:HEADER]


async def test_tell_counts_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap_bytes(records(numbered(5)), precision="nano") + b"cut")
    async with await aiopcap.dump_open(path, linktype=1, append=True) as dumper:
        assert dumper.tell() == HEADER + 5 * RECORD
        await send_all(dumper, packets(2))
        assert dumper.tell() == HEADER + 7 * RECORD
        await dumper.flush()
        assert path.stat().st_size == dumper.tell()


async def test_a_capture_appends_in_its_own_format(tmp_path: Path) -> None:
    path = tmp_path / "copy.pcap"
    content = pcap_bytes(records(numbered(5)), linktype=0x34000001, precision="nano", snaplen=999)
    for _ in range(2):
        async with (
            await aiopcap.open_offline(content) as capture,
            await capture.dump_open(path, append=True) as dumper,
        ):
            async for batch in capture.batches():
                await dumper.send_batch(batch)
    assert path.read_bytes() == content + content[HEADER:]


# -- repairs ---------------------------------------------------------------------------------------


async def test_cut_at_every_byte_it_goes_on_behind_the_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    datas = [b"", b"x", bytes(30)]
    made = [Record(number, data) for number, data in enumerate(datas)]
    content = pcap_bytes(made, precision="nano")
    ends = [HEADER, HEADER + 16, HEADER + 16 + 17, len(content)]
    for length in range(HEADER, len(content) + 1):
        path.write_bytes(content[:length])
        await append(path, [Packet(b"appended", timestamp_ns=7)])
        whole = max(end for end in ends if end <= length)
        addition = pcap_record(Record(7, b"appended"), precision="nano")
        assert path.read_bytes() == content[:whole] + addition


async def test_a_cut_end_is_removed_even_if_nothing_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    content = pcap_bytes(records(numbered(5)), precision="nano")
    path.write_bytes(content[:-1])
    await append(path, [])
    assert path.read_bytes() == content[:-RECORD]


async def test_opening_alone_changes_nothing(tmp_path: Path) -> None:
    # Nor does an opening that was given up; another dumper may be at the file by then.
    path = tmp_path / "file.pcap"
    content = pcap_bytes(records(numbered(5)), precision="nano")[:-1]
    path.write_bytes(content)
    async with await aiopcap.dump_open(path, linktype=1, append=True):
        assert path.read_bytes() == content


@pytest.mark.parametrize("seed", range(3))
async def test_records_lie_anywhere_in_what_is_read_at_once(seed: int, tmp_path: Path) -> None:
    # Several of the pieces of 1 MiB that the file is walked in, and headers across their ends.
    path = tmp_path / "file.pcap"
    chance = random.Random(seed)
    sizes = chance.choices([0, 1, 60, 1500, 70_000], [3, 3, 3, 3, 1], k=600)
    content = pcap_bytes([Record(0, bytes(size)) for size in sizes], precision="nano")
    assert len(content) > 3 << 20
    path.write_bytes(content + pcap_record(Record(0, bytes(99)), precision="nano")[:-1])
    await append(path, [])
    assert path.stat().st_size == len(content)


@pytest.mark.parametrize("surplus", [0, 1, 15, 16, 1000])
async def test_files_beyond_4_gib(surplus: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    snaplen, size = 1 << 27, (1 << 27) - 5
    end = HEADER
    with path.open("wb") as file:
        file.write(pcap_header(magic=0xA1B23C4D, snaplen=snaplen, linktype=231))
        for _ in range(40):
            file.seek(end)
            file.write(struct.pack("<IIII", 0, 0, size, size))
            end += 16 + size
        file.seek(end)
        file.write(struct.pack("<IIII", 0, 0, size, size)[:surplus])
        file.truncate(end + surplus)
    assert end > 1 << 32
    before = path.stat().st_blocks
    await append(path, [Packet(b"appended")], linktype=231, snaplen=snaplen)
    with path.open("rb") as file:
        file.seek(end)
        assert file.read() == pcap_record(Record(0, b"appended"), precision="nano")
    assert path.stat().st_blocks <= before + 16


async def test_the_most_that_a_link_type_may_have(tmp_path: Path) -> None:
    # Records may be longer than the snaplen says, as some systems wrote them so.
    path = tmp_path / "file.pcap"
    content = pcap_bytes([Record(0, bytes(70_000))], snaplen=65535, precision="nano")
    path.write_bytes(content)
    await append(path, [], snaplen=65535)
    assert path.read_bytes() == content
    assert len((await read_all(content)).packets) == 1


# -- refusals --------------------------------------------------------------------------------------

header = functools.partial(pcap_header, magic=0xA1B23C4D)
BODY = b"".join(pcap_record(record, precision="nano") for record in records(numbered(3)))

REFUSED = {
    "another precision": (pcap_header() + BODY, "time stamp precision, micro and not nano"),
    "another byte order": (header(order="big") + BODY, "byte order"),
    "another link type": (header(linktype=101) + BODY, "RAW and not EN10MB"),
    "checksum bits": (header(linktype=0x34000001) + BODY, "EN10MB with .*0x3400"),
    "another snaplen": (header(snaplen=65535) + BODY, "snaplen, 65535 and not"),
    "another version": (header(version=(2, 3)) + BODY, "version"),
    "modified": (pcap_header(magic=0xA1B2CD34) + BODY, "not a pcap file"),
    "pcapng": (section() + interface(), "is a pcapng file"),
    "text": (b"This is no savefile.\n" * 9, "not a pcap file"),
    "one byte": (b"\n", "not a pcap file"),
    "zeros": (bytes(1000), "not a pcap file"),
    "half a header": (header()[:23], "ends inside its header"),
    "damaged": (
        header() + BODY + struct.pack("<IIII", 0, 0, 262145, 60) + bytes(300_000),
        f"damaged: at byte {HEADER + 3 * RECORD} begins a record of 262145 bytes",
    ),
    "damaged at its end": (
        header() + BODY + struct.pack("<IIII", 0, 0, 2**32 - 1, 60),
        "damaged: .* a record of 4294967295 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_another_file_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    path = tmp_path / "file.pcap"
    path.write_bytes(content)
    before = open_descriptors(), path.stat().st_mtime_ns
    with pytest.raises(aiopcap.SavefileError, match=words) as caught:
        await append(path, packets(1))
    assert isinstance(caught.value, ValueError)
    assert "file.pcap" in str(caught.value)
    assert (open_descriptors(), path.stat().st_mtime_ns) == before
    assert path.read_bytes() == content


@pytest.mark.parametrize("cut", range(1, 24))
async def test_a_header_that_was_cut_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(header()[:cut])
    with pytest.raises(aiopcap.SavefileError):
        await append(path, [])
    assert path.stat().st_size == cut


@pytest.mark.parametrize("kind", ["descriptor", "standard output", "file object", "fifo", "device"])
async def test_only_files_with_a_path_are_appended_to(kind: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with (tmp_path / "file").open("wb") as file:
        target = {
            "descriptor": file.fileno(),
            "standard output": "-",
            "file object": io.BytesIO(),
            "fifo": fifo,
            "device": "/dev/full",
        }[kind]
        before = open_descriptors()
        with pytest.raises(ValueError, match="append") as caught:
            await aiopcap.dump_open(target, linktype=1, append=True)
        assert not isinstance(caught.value, aiopcap.PcapError)
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("name", "error"), [("missing/file", FileNotFoundError), ("", IsADirectoryError)]
)
async def test_a_file_that_cannot_be_opened(
    name: str, error: type[OSError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        await append(tmp_path / name, [])


@pytest.mark.parametrize(
    ("option", "value"), [("precision", "pico"), ("buffer_bytes", 0), ("when_full", "maybe")]
)
async def test_wrong_options_leave_the_file_alone(option: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(ValueError, match=option):
        await append(path, [], **{option: value})
    assert not path.exists()
