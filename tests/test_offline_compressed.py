"""Savefiles that gzip, xz, zstd or lz4 have compressed."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import anyio
import pytest
from anyio import CancelScope, wait_all_tasks_blocked

import aiopcap
from tests.reading import Make, Outcome, SlowFile, as_records, checkpoints, pipe, read_all, sources
from tests.savefile_samples import SAMPLES, Sample
from tests.support.compressors import FORMATS, SUFFIXES, pack, unpack
from tests.support.event_loop import loop_lag
from tests.support.frames import number_of, numbered
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, records
from tests.support.programs import run_python
from tests.support.reference_reader import read_savefile
from tests.support.resources import open_descriptors, resources
from tests.support.witnesses import require_program, tshark_fields

pytestmark = pytest.mark.anyio

formats = pytest.mark.parametrize("format", FORMATS)


def packets_of(count: int) -> list[Record]:
    # Partly noise, so that what is compressed is not tiny.
    noise = random.Random(1)
    return records(data[:40] + noise.randbytes(20) for data in numbered(count))


PACKETS = packets_of(3000)
CONTENT = pcap_bytes(PACKETS)
EXPECTED = [Record(packet.timestamp_ns, packet.data, 60) for packet in PACKETS]

FEW = packets_of(60)
FEW_CONTENT = pcap_bytes(FEW)
FEW_EXPECTED = EXPECTED[:60]


def packed(format: str, content: bytes = CONTENT) -> bytes:
    return pack(format, content)


# -- where they come from --------------------------------------------------------------------------


@formats
@sources
async def test_every_packet_comes_from_a_source_of_any_kind(format: str, make: Make) -> None:
    async with await aiopcap.open_offline(make(packed(format))) as capture:
        assert capture.compression == format
        assert capture.format == "pcap"
        packets = [packet async for packet in capture]
    assert as_records(packets) == EXPECTED


@formats
async def test_a_descriptor_is_left_behind_what_was_read(format: str, tmp_path: Path) -> None:
    path = tmp_path / "named.as.it.likes"
    path.write_bytes(packed(format))
    with path.open("rb") as file:
        assert as_records((await read_all(file.fileno())).packets) == EXPECTED
        assert file.read() == b""


@formats
def test_standard_input(format: str) -> None:
    printed = run_python(
        """
        import anyio, aiopcap

        async def main():
            async with await aiopcap.open_offline("-") as capture:
                count = len([packet async for packet in capture])
                print(count, capture.compression)

        anyio.run(main)
        """,
        standard_input=packed(format),
    )
    assert printed.split() == [b"3000", format.encode()]


@sources
async def test_what_is_not_compressed_says_so(make: Make) -> None:
    async with await aiopcap.open_offline(make(CONTENT)) as capture:
        assert capture.compression is None
        assert len([packet async for packet in capture]) == 3000


@formats
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_every_kind_of_savefile(format: str, sample: Sample) -> None:
    assert (await read_all(packed(format, sample.content))).reading == read_savefile(sample.content)


@pytest.mark.parametrize("format", ["gzip", "zstd", "lz4"])
async def test_tshark_finds_the_same(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    path.write_bytes(packed(format))
    found = [
        (int(length), payload) for length, payload in tshark_fields(path, "frame.len", "data.data")
    ]
    packets = (await read_all(path)).packets
    assert found == [(packet.wire_length, packet.data[14:].hex()) for packet in packets]


@formats
@pytest.mark.parametrize("options", [["-1"], ["-9"]], ids=str)
async def test_every_level(format: str, options: list[str]) -> None:
    assert as_records((await read_all(pack(format, CONTENT, *options))).packets) == EXPECTED


@pytest.mark.parametrize(
    "options", [["-B4", "-BD"], ["-B7"], ["--no-frame-crc"], ["-BX"], ["--content-size"]], ids=str
)
async def test_what_lz4_can_do(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    compressed = pack("lz4", b"", *options, str(path))
    assert as_records((await read_all(compressed)).packets) == EXPECTED


async def test_pzstd_puts_a_frame_to_skip_before_each() -> None:
    require_program("pzstd")
    compressed = pack("pzstd", CONTENT)
    assert compressed[1:4] == b"\x2a\x4d\x18"
    async with await aiopcap.open_offline(compressed) as capture:
        assert capture.compression == "zstd"
        assert as_records([packet async for packet in capture]) == EXPECTED


async def test_what_is_compressed_twice_is_no_savefile() -> None:
    outcome = await read_all(packed("gzip", packed("gzip")))
    assert "unknown file format" in str(outcome.error)


# -- several members -------------------------------------------------------------------------------


@formats
@sources
async def test_members_one_behind_another(format: str, make: Make) -> None:
    cuts = [0, 3, 24, 100, 101, 50_000, 50_000, len(CONTENT)]
    members = [packed(format, CONTENT[start:end]) for start, end in itertools.pairwise(cuts)]
    outcome = await read_all(make(b"".join(members)))
    assert outcome == Outcome(outcome.packets, None)
    assert as_records(outcome.packets) == EXPECTED


@pytest.mark.parametrize("format", ["gzip", "xz"])
@pytest.mark.parametrize("zeros", [4, 512, 200_000])
async def test_padding_with_zeros(format: str, zeros: int) -> None:
    first, second = packed(format, CONTENT[:1000]), packed(format, CONTENT[1000:])
    padding = bytes(zeros)
    outcome = await read_all(first + padding + second + padding)
    assert outcome.error is None
    assert as_records(outcome.packets) == EXPECTED


@formats
async def test_what_else_stands_behind_is_damage(format: str) -> None:
    outcome = await read_all(packed(format) + b"this is not compressed, whatever it is")
    assert as_records(outcome.packets) == EXPECTED
    assert outcome.end == "invalid"


@formats
async def test_members_with_nothing_in_them(format: str) -> None:
    nothing = packed(format, b"") * 5000
    outcome = await read_all(nothing + packed(format) + nothing)
    assert outcome.error is None
    assert as_records(outcome.packets) == EXPECTED
    assert "only got 0" in str((await read_all(nothing)).error)


# -- cut and damaged -------------------------------------------------------------------------------


@formats
async def test_cut_anywhere_the_packets_before_come_first(format: str, tmp_path: Path) -> None:
    compressed = packed(format, FEW_CONTENT)
    path = tmp_path / "cut"
    before = 0
    for length in {*range(0, len(compressed), 13), *range(len(compressed) - 40, len(compressed))}:
        path.write_bytes(compressed[:length])
        packets, error = await read_all(path)
        assert isinstance(error, aiopcap.TruncatedSavefileError)
        assert as_records(packets) == FEW_EXPECTED[: len(packets)]
    for length in range(0, len(compressed), 199):
        packets, _ = await read_all(compressed[:length])
        found = unpack(format, compressed[:length]).content
        # The program may keep to itself what it has half of.
        assert len(packets) >= len(read_pcap(found).records if len(found) >= 24 else [])
        assert len(packets) >= before
        before = len(packets)


@formats
async def test_a_wrong_checksum_costs_no_packet(format: str) -> None:
    compressed = bytearray(packed(format))
    # In xz the content's checksum stands before the index.
    checksum = {"gzip": -8, "xz": -40, "zstd": -4, "lz4": -4}[format]
    if format == "xz":
        footer = bytes(compressed[-12:])
        checksum = -12 - (int.from_bytes(footer[4:8], "little") + 1) * 4 - 8
    compressed[checksum] ^= 1
    assert not unpack(format, bytes(compressed)).whole
    outcome = await read_all(bytes(compressed))
    assert outcome.end == "invalid"
    assert format in str(outcome.error)
    assert as_records(outcome.packets) == EXPECTED


@formats
async def test_zeros_in_place_of_the_second_half(format: str, tmp_path: Path) -> None:
    # What a power cut makes of files that were not written down yet.
    content = pcap_bytes(packets_of(20_000))
    compressed = packed(format, content)
    half = len(compressed) // 2
    path = tmp_path / "half"
    path.write_bytes(compressed[:half] + bytes(half))
    packets, error = await read_all(path)
    assert error is not None
    # A block that is not whole has no content; the largest block of a format is lz4's.
    assert len(packets) * 76 > len(content) // 2 - 200_000 if format != "lz4" else packets == []
    same = [number for number, packet in enumerate(packets) if number_of(packet.data) == number]
    assert len(same) * 76 > len(packets) * 76 - 70_000


@formats
async def test_every_byte_changed(format: str) -> None:
    compressed = packed(format, FEW_CONTENT)
    for position in range(0, len(compressed), 7):
        for change in (0x01, 0xFF):
            changed = bytearray(compressed)
            changed[position] ^= change
            packets, error = await read_all(bytes(changed))
            if error is None:
                assert as_records(packets) == FEW_EXPECTED, (position, change)
                assert unpack(format, bytes(changed)) == (FEW_CONTENT, True), (position, change)


@formats
async def test_the_same_error_comes_again(format: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(packed(format)[:-1])
    async with await aiopcap.open_offline(path) as capture:
        with pytest.raises(aiopcap.TruncatedSavefileError):
            async for _ in capture:
                pass
        for _ in range(3):
            with pytest.raises(aiopcap.TruncatedSavefileError, match=f"cut.pcap.*{format}"):
                await capture.receive()


# -- how much memory they take ---------------------------------------------------------------------


@pytest.mark.memory
@formats
@pytest.mark.parametrize("kind", ["path", "memory"])
async def test_a_bomb_takes_no_memory(format: str, kind: str, make: Make) -> None:
    # Zeros behind a header are packets without data.
    zeros = 128 * 1024 * 1024
    argv = f"({{ cat; head -c {zeros} /dev/zero; }} | {require_program(format)} -c)"
    bomb = subprocess.run(argv, shell=True, input=pcap_header(), capture_output=True, check=True)
    source = make(bomb.stdout)
    assert len(bomb.stdout) < zeros / 100
    count = 0
    async with await aiopcap.open_offline(source) as capture:
        await capture.receive_batch()
        before = most = resources().resident_bytes
        async for batch in capture.batches():
            count += len(batch)
            if count % (64 * 8192) == 0:
                most = max(most, resources().resident_bytes)
    assert count > zeros // 16 - 10_000
    # zstd's window has 8 MiB, lz4's blocks have 4.
    assert most - before < 48 * 1024 * 1024


async def test_a_bomb_in_little_memory_is_decompressed_in_a_thread() -> None:
    content = pcap_bytes(packets_of(1000) * 100)
    compressed = packed("xz", content)
    assert len(compressed) < 1024 * 1024
    async with loop_lag(0.002) as lag:
        assert len((await read_all(compressed)).packets) == 100_000
    assert lag.count > 10
    assert lag.max < 0.25


@pytest.mark.parametrize("format", ["xz", "zstd"])
async def test_a_file_that_asks_for_too_much_memory_is_refused(format: str) -> None:
    compressed = bytearray(packed(format))
    if format == "xz":
        # The size of the dictionary, in the filter's properties: 1.5 GiB.
        assert compressed[14:16] == b"\x21\x01"
        compressed[16] = 37
        end = 12 + compressed[12] * 4
        compressed[end : end + 4] = zlib.crc32(compressed[12:end]).to_bytes(4, "little")
    else:
        assert not compressed[4] & 0x20
        compressed[5] = (30 - 10) << 3  # a window of 1 GiB
    outcome = await read_all(bytes(compressed))
    assert (outcome.packets, outcome.end) == ([], "invalid")
    assert "memory" in str(outcome.error).lower()


# -- pipes -----------------------------------------------------------------------------------------


@formats
async def test_a_pipe_fed_byte_by_byte(format: str) -> None:
    compressed = packed(format, FEW_CONTENT)
    got: list[aiopcap.Packet] = []

    async def read(reader: int) -> None:
        async with await aiopcap.open_offline(reader) as capture:
            assert capture.compression == format
            async for packet in capture:
                got.append(packet)  # noqa: PERF401 - those before an error count

    with pipe() as (reader, writer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, reader)
            for position in range(len(compressed)):
                os.write(writer, compressed[position : position + 1])
                await checkpoints(3)
            # Where the file ends is seen before the pipe does.
            with anyio.fail_after(5):
                while len(got) < len(FEW):
                    await checkpoints(1)
            assert as_records(got) == FEW_EXPECTED
            os.close(writer)


@formats
async def test_all_that_is_in_a_few_bytes_comes_before_the_next(format: str) -> None:
    content = pcap_bytes(packets_of(1000) * 50)
    compressed = packed(format, content)
    with pipe() as (reader, writer):
        async with anyio.create_task_group() as tasks:
            # More than a pipe holds may be written while it is read.
            tasks.start_soon(anyio.to_thread.run_sync, os.write, writer, compressed)
            async with await aiopcap.open_offline(reader) as capture:
                with anyio.fail_after(20):
                    for _ in range(50_000):
                        await capture.receive()
                with pytest.raises(anyio.WouldBlock):
                    capture.receive_nowait()
        os.close(writer)


@pytest.mark.parametrize("format", ["gzip", "zstd", "lz4"])
async def test_a_pipe_of_what_has_no_content_leaves_the_loop_its_turns(format: str) -> None:
    nothing = packed(format, b"") * 3000
    turns: list[float] = []

    async def take_turns() -> None:
        while True:
            turns.append(time.perf_counter())
            await anyio.lowlevel.checkpoint()

    async def write(writer: int) -> None:
        for data in (nothing, nothing, packed(format, FEW_CONTENT)):
            await anyio.to_thread.run_sync(write_all, writer, data)
        os.close(writer)

    with pipe() as (reader, writer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            tasks.start_soon(write, writer)
            outcome = await read_all(reader)
            tasks.cancel_scope.cancel()
    assert as_records(outcome.packets) == FEW_EXPECTED
    assert max(after - before for before, after in itertools.pairwise(turns)) < 0.25


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


@formats
async def test_a_pipe_that_ends_too_early(format: str) -> None:
    compressed = packed(format, FEW_CONTENT)
    for length in (*range(5), len(compressed) // 2, len(compressed) - 1):
        with pipe() as (reader, writer):
            os.write(writer, compressed[:length])
            os.close(writer)
            packets, error = await read_all(reader)
        assert isinstance(error, aiopcap.TruncatedSavefileError)
        assert as_records(packets) == FEW_EXPECTED[: len(packets)]


@formats
async def test_waiting_for_a_pipe_is_cancelled_at_once(format: str) -> None:
    compressed = packed(format, FEW_CONTENT)
    before = open_descriptors()
    for length in (0, 2, 4, 10, len(compressed)):
        with pipe() as (reader, writer):
            os.write(writer, compressed[:length])
            with anyio.fail_after(5), CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read_all, reader)
                    await wait_all_tasks_blocked()
                    scope.cancel()
    assert open_descriptors() == before


# -- cancelled and closed --------------------------------------------------------------------------


@formats
@sources
@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_cancelled_no_packet_is_lost_or_comes_twice(
    format: str, turns: int, make: Make
) -> None:
    got: list[int] = []
    async with await aiopcap.open_offline(make(packed(format))) as capture:

        async def read() -> None:
            async for packet in capture:
                got.append(number_of(packet.data))  # noqa: PERF401 - those before a cancel count

        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await checkpoints(turns)
                tasks.cancel_scope.cancel()
        await read()
    assert got == [number_of(packet.data) for packet in PACKETS]


@formats
async def test_closing_wakes_a_reader_that_waits_for_a_file_object(format: str) -> None:
    file = SlowFile(packed(format), at_once=2000)
    capture = await aiopcap.open_offline(file)
    closed = False

    async def read() -> None:
        nonlocal closed
        try:
            async for _ in capture:
                pass
        except anyio.ClosedResourceError:
            closed = True

    file.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        while not file.entered.is_set():
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            await capture.aclose()
    assert closed
    file.release()


# -- without the packages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "modules"),
    [("zstd", ["compression.zstd", "backports.zstd"]), ("lz4", ["lz4.frame"])],
)
@sources
async def test_without_its_package_the_extra_is_named(
    format: str, modules: list[str], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(packed(format))
    before = open_descriptors()
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(aiopcap.MissingExtraError, match=rf"{format}.*aiopcap\[compression\]"):
        await aiopcap.open_offline(source)
    assert open_descriptors() == before
