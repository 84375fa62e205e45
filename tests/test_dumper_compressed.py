"""Savefiles that are compressed while they are written, as gzip, xz, zstd and lz4 read them."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

import aiopcap
from aiopcap import Packet
from tests.dumping import HEADER, RECORD, batch_of, dumped, packets, written
from tests.reading import pipe, read_all
from tests.support.compressors import FORMATS, SUFFIXES, unpack
from tests.support.frames import number_of
from tests.support.oracle import read_pcap
from tests.support.programs import run_python
from tests.support.small_disk import small_disk
from tests.support.witnesses import tshark_fields

pytestmark = pytest.mark.anyio

formats = pytest.mark.parametrize("format", FORMATS)

PACKETS = packets(3000)


async def dump(target: Any, packets: list[Packet] = PACKETS, **options: Any) -> None:
    async with await aiopcap.dump_open(target, linktype=1, **options) as dumper:
        for packet in packets:
            await dumper.send(packet)


# -- what is in the file ---------------------------------------------------------------------------


@formats
@pytest.mark.parametrize("count", [0, 1, 3000])
async def test_the_suffix_of_a_path_says_how(format: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    await dump(path, PACKETS[:count])
    assert unpack(format, path.read_bytes()) == (await dumped(PACKETS[:count]), True)
    async with await aiopcap.open_offline(path) as capture:
        assert capture.compression == format
        assert [number_of(packet.data) async for packet in capture] == list(range(count))


@formats
@pytest.mark.parametrize("kind", ["path", "descriptor", "file object", "memory", "pipe"])
async def test_a_target_of_any_kind(format: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    if kind == "path":
        await dump(path, compression=format)
        content = path.read_bytes()
    elif kind == "memory":
        memory = io.BytesIO()
        await dump(memory, compression=format)
        content = memory.getvalue()
    elif kind == "pipe":
        with pipe() as (reader, writer):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dump_and_close, writer, format)
                content = await to_thread.run_sync(read_to_the_end, reader)
    else:
        with path.open("wb") as file:
            await dump(file if kind == "file object" else file.fileno(), compression=format)
            content = path.read_bytes()
    assert unpack(format, content) == (await dumped(PACKETS), True)


async def dump_and_close(writer: int, format: str) -> None:
    await dump(writer, compression=format)
    os.close(writer)


def read_to_the_end(reader: int) -> bytes:
    with open(reader, "rb", closefd=False) as file:
        return file.read()


@pytest.mark.parametrize("format", ["gzip", "zstd", "lz4"])
async def test_tshark_reads_it(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    await dump(path)
    expected = [("60", str(packet.wire_length)) for packet in PACKETS]
    assert tshark_fields(path, "frame.cap_len", "frame.len") == expected


@formats
async def test_large_batches(format: str, tmp_path: Path) -> None:
    batch = await batch_of(5000)
    path = tmp_path / f"file{SUFFIXES[format].upper()}"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        for _ in range(10):
            await dumper.send_batch(batch)
        assert dumper.tell() == HEADER + 50_000 * RECORD
    content, whole = unpack(format, path.read_bytes())
    assert whole
    assert written(content) == [*range(5000)] * 10
    assert path.stat().st_size < HEADER + 50_000 * RECORD


@pytest.mark.parametrize(
    ("name", "compression"), [("file.pcap.gz", None), ("file.pcap", "auto"), ("gz", "auto")]
)
async def test_nothing_is_compressed_that_need_not_be(
    name: str, compression: str | None, tmp_path: Path
) -> None:
    await dump(tmp_path / name, compression=compression)
    assert written((tmp_path / name).read_bytes()) == list(range(3000))


async def test_a_name_wins_over_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap.gz"
    await dump(path, compression="zstd")
    assert unpack("zstd", path.read_bytes()).whole


async def test_a_capture_dumps_compressed(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap.gz"
    async with (
        await aiopcap.open_offline(await dumped(PACKETS)) as capture,
        await capture.dump_open(path) as by_suffix,
        await capture.dump_open(tmp_path / "named", compression="xz") as by_name,
    ):
        async for batch in capture.batches():
            await by_suffix.send_batch(batch)
            await by_name.send_batch(batch)
    assert written(unpack("gzip", path.read_bytes()).content) == list(range(3000))
    assert written(unpack("xz", (tmp_path / "named").read_bytes()).content) == list(range(3000))


# -- flushing --------------------------------------------------------------------------------------


@formats
async def test_what_was_flushed_can_be_read(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        for number in range(20):
            for packet in packets(10, start=number * 10):
                await dumper.send(packet)
            await dumper.flush(sync=number % 2 == 0)
            content = unpack(format, path.read_bytes()).content
            assert len(content) == dumper.tell()
            assert written(content) == list(range(10 + number * 10))
            found = await read_all(path)
            assert [number_of(packet.data) for packet in found.packets] == written(content)
    assert unpack(format, path.read_bytes()) == (await dumped(packets(200)), True)


@formats
async def test_a_flush_with_a_file_object_goes_through_it(format: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        dumper = await aiopcap.dump_open(file, linktype=1, compression=format)
        await dumper.send(PACKETS[0])
        await dumper.flush()
        assert written(unpack(format, path.read_bytes()).content) == [0]
        await dumper.aclose()


@formats
async def test_a_flush_of_nothing_more_writes_nothing_more(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        await dumper.flush()
        size = path.stat().st_size
        for _ in range(50):
            await dumper.flush()
        # zlib marks the first flush without content once more.
        assert path.stat().st_size <= size + 5
    assert unpack(format, path.read_bytes()) == (await dumped([]), True)


@formats
async def test_a_reader_follows_what_is_flushed(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    with anyio.fail_after(20):
        async with await aiopcap.dump_open(path, linktype=1) as dumper:
            await dumper.flush()
            async with await aiopcap.open_offline(path, follow=True) as capture:
                for number in range(10):
                    for packet in packets(3, start=number * 3):
                        await dumper.send(packet)
                    await dumper.flush()
                    for expected in range(number * 3, number * 3 + 3):
                        assert number_of((await capture.receive()).data) == expected


# -- what goes wrong -------------------------------------------------------------------------------


@formats
@pytest.mark.parametrize("call", ["flush", "aclose"])
async def test_a_full_device_is_reported(format: str, call: str) -> None:
    dumper = await aiopcap.dump_open("/dev/full", linktype=1, compression=format)
    await dumper.send(Packet(b"data"))
    with pytest.raises(aiopcap.SavefileWriteError) as caught:
        await (dumper.flush() if call == "flush" else dumper.aclose())
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/dev/full"
    if call == "flush":
        with pytest.raises(aiopcap.SavefileWriteError):
            await dumper.send(Packet(b"data"))
    await dumper.aclose()


@formats
async def test_a_full_disk_leaves_what_can_be_read(format: str, tmp_path: Path) -> None:
    noise = [Packet(packet.data[:22] + os.urandom(1000)) for packet in packets(500)]
    with small_disk(tmp_path, 64 * 1024) as folder:
        path = folder / f"file.pcap{SUFFIXES[format]}"
        dumper = await aiopcap.dump_open(path, linktype=1)
        with pytest.raises(aiopcap.SavefileWriteError) as caught:
            await send_flushing(dumper, noise)
        assert caught.value.errno == errno.ENOSPC
        await dumper.aclose()
        content, whole = unpack(format, path.read_bytes())
        assert not whole
        found, error = await read_all(path)
    assert isinstance(error, aiopcap.TruncatedSavefileError)
    assert [packet.data for packet in found] == [packet.data for packet in noise[: len(found)]]
    assert len(found) >= max(40, len(read_pcap(content).records))


async def send_flushing(dumper: aiopcap.Dumper, packets: list[Packet]) -> None:
    for number, packet in enumerate(packets, 1):
        await dumper.send(packet)
        if number % 5 == 0:
            await dumper.flush()


@formats
async def test_a_reader_that_has_left_is_reported(format: str) -> None:
    with pipe() as (reader, writer):
        dumper = await aiopcap.dump_open(writer, linktype=1, compression=format)
        os.close(reader)
        await dumper.send(Packet(b"data"))
        with pytest.raises(aiopcap.SavefileWriteError) as caught:
            await dumper.flush()
        assert caught.value.errno == errno.EPIPE
        await dumper.aclose()
        os.dup2(writer, reader)  # `pipe` closes it


@formats
async def test_closing_completes_the_file_although_cancelled(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    with anyio.CancelScope() as scope:
        async with await aiopcap.dump_open(path, linktype=1) as dumper:
            for packet in PACKETS:
                await dumper.send(packet)
            scope.cancel()
    assert unpack(format, path.read_bytes()) == (await dumped(PACKETS), True)


async def test_what_is_no_format_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(b"before")
    for name in ("bzip2", "", "gz", "AUTO"):
        with pytest.raises(ValueError, match="'auto', 'gzip', 'xz', 'zstd', 'lz4' or None"):
            await aiopcap.dump_open(path, linktype=1, compression=name)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("format", "modules"),
    [("zstd", ["compression.zstd", "backports.zstd"]), ("lz4", ["lz4.frame"])],
)
async def test_without_its_package_the_extra_is_named_and_nothing_touched(
    format: str, modules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    path.write_bytes(b"before")
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(aiopcap.MissingExtraError, match=rf"{format}.*aiopcap\[compression\]"):
        await aiopcap.dump_open(path, linktype=1)
    assert path.read_bytes() == b"before"


@formats
def test_a_forked_child_adds_nothing(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.pcap{SUFFIXES[format]}"
    printed = run_python(
        """
        import gc, os, sys, warnings
        import anyio, aiopcap

        async def main():
            dumper = await aiopcap.dump_open(sys.argv[1], linktype=1)
            for number in range(100):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
                if number == 50:
                    await dumper.flush()
            child = os.fork()
            if child == 0:
                try:
                    del dumper
                    gc.collect()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            await dumper.aclose()

        warnings.simplefilter("ignore")
        anyio.run(main)
        """,
        str(path),
    )
    assert printed == b""
    content, whole = unpack(format, path.read_bytes())
    assert whole
    assert written(content) == list(range(100))
