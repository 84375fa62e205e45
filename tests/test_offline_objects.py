"""Savefiles in memory and in file objects."""

from __future__ import annotations

import array
import gzip
import io
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiopcap
from tests.reading import SlowFile, as_records, read_all
from tests.support.frames import numbered
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, records

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(300))

CONTENT = pcap_bytes(PACKETS)

EXPECTED = [Record(packet.timestamp_ns, packet.data, 60) for packet in PACKETS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file.pcap"
    file.write_bytes(CONTENT)
    return file


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda data: memoryview(array.array("b", data))],
    ids=["bytes", "bytearray", "memoryview", "memoryview of an array"],
)
async def test_memory_of_any_kind(kind: Callable[[bytes], Any]) -> None:
    assert as_records((await read_all(kind(CONTENT))).packets) == EXPECTED


async def test_a_bytearray_is_free_again_when_the_capture_is_closed() -> None:
    memory = bytearray(CONTENT)
    async with await aiopcap.open_offline(memory) as capture:
        packet = await capture.receive()
        batch = await capture.receive_batch()
    memory.clear()
    assert packet.data == EXPECTED[0].data
    assert batch[0].data == EXPECTED[1].data


async def test_memory_that_changes_later_does_not_change_packets() -> None:
    memory = bytearray(CONTENT)
    async with await aiopcap.open_offline(memory) as capture:
        batch = await capture.receive_batch()
        memory[24:] = bytes(len(memory) - 24)
        assert as_records(batch) == EXPECTED


class OnlyRead:
    """The least that a file object is."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._rest.read(size)


@pytest.mark.parametrize(
    "kind",
    [
        io.BytesIO,
        OnlyRead,
        lambda content: SlowFile(content, at_once=7),
        lambda content: io.BufferedReader(SlowFile(content), 100),
        lambda content: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content))),
    ],
    ids=["BytesIO", "only read", "a few bytes a time", "buffered", "gzip"],
)
async def test_a_file_object_of_any_kind(kind: Callable[[bytes], Any]) -> None:
    assert as_records((await read_all(kind(CONTENT))).packets) == EXPECTED


@pytest.mark.parametrize("buffering", [-1, 0])
async def test_an_open_file_stays_open(path: Path, buffering: int) -> None:
    with path.open("rb", buffering=buffering) as file:
        assert as_records((await read_all(file)).packets) == EXPECTED
        assert not file.closed
        assert file.read() == b""


async def test_a_mapped_file(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert as_records((await read_all(mapped)).packets) == EXPECTED


async def test_an_error_names_the_file_of_the_object(path: Path) -> None:
    os.truncate(path, 30)
    with path.open("rb") as file:
        assert str(path) in str((await read_all(file)).error)


@pytest.mark.parametrize("kind", ["StringIO", "text file", "encoded text file"])
async def test_text_is_refused_with_advice(path: Path, kind: str) -> None:
    text: io.TextIOBase = io.StringIO("text")
    if kind != "StringIO":
        text = path.open("r", encoding="ascii" if kind == "text file" else "utf-16")
    with text, pytest.raises(TypeError, match="text"):
        await aiopcap.open_offline(text)


@pytest.mark.parametrize("source", [None, 1.5, [1], {"a": 1}, Ellipsis], ids=repr)
async def test_what_is_no_source_is_refused_with_a_list_of_what_is(source: Any) -> None:
    with pytest.raises(TypeError, match=r"path.*descriptor.*file object.*bytes"):
        await aiopcap.open_offline(source)


async def test_an_object_that_has_nothing_now_says_so() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, CONTENT[:100])
    try:
        with open(reader, "rb", buffering=0, closefd=False) as file:
            async with await aiopcap.open_offline(file) as capture:
                assert (await capture.receive()).data == EXPECTED[0].data
                with pytest.raises(BlockingIOError):
                    await capture.receive()
    finally:
        os.close(reader)
        os.close(writer)


async def test_an_object_that_gives_more_than_it_was_asked_for() -> None:
    class Generous:
        def read(self, size: int) -> bytes:
            return pcap_header() + bytes(size)

    with pytest.raises((ValueError, OSError)) as caught:
        await aiopcap.open_offline(Generous())
    assert not isinstance(caught.value, aiopcap.SavefileError)


async def test_an_object_that_gives_no_bytes() -> None:
    class Strange:
        def read(self, _size: int) -> Any:
            return 5

    with pytest.raises(TypeError):
        await aiopcap.open_offline(Strange())
