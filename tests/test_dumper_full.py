"""Disks that are full and objects that break under a dumper."""

from __future__ import annotations

import errno
import io
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import Packet
from tests.dumping import HEADER, RECORD, batch_of, packets, written
from tests.support.frames import number_of
from tests.support.oracle import read_pcap
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("call", ["flush", "flush and sync", "aclose"])
async def test_a_full_device_is_reported_when_the_buffer_is_written(call: str) -> None:
    dumper = await aiopcap.dump_open("/dev/full", linktype=1)
    await dumper.send(Packet(b"data"))
    write = dumper.aclose() if call == "aclose" else dumper.flush(sync=call == "flush and sync")
    with pytest.raises(aiopcap.SavefileWriteError) as caught:
        await write
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/dev/full"
    assert "/dev/full" in str(caught.value)
    await dumper.aclose()


async def test_the_same_error_comes_again_and_closing_is_quiet() -> None:
    dumper = await aiopcap.dump_open("/dev/full", linktype=1)
    batch = await batch_of(3)
    await dumper.send(Packet(b"data"))
    errors = []
    for _ in range(20):
        for call in (dumper.flush(), dumper.send(Packet(b"x")), dumper.send_batch(batch)):
            with pytest.raises(aiopcap.SavefileWriteError) as caught:
                await call
            errors.append((caught.value.errno, str(caught.value)))
    assert len(set(errors)) == 1
    depth, traceback = 0, caught.value.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    assert depth < 30
    await dumper.aclose()
    await dumper.aclose()


@pytest.mark.parametrize("way", ["send", "send_batch"])
async def test_a_full_disk_is_reported_by_the_sender_too(way: str) -> None:
    batch = await batch_of(1000)
    async with await aiopcap.dump_open("/dev/full", linktype=1) as dumper:
        with pytest.raises(aiopcap.SavefileWriteError):
            await send_for_ever(dumper, batch, way)


async def send_for_ever(
    dumper: aiopcap.Dumper, batch: aiopcap.PacketBatch, way: str, *, flush: bool = False
) -> None:
    while True:
        if way == "send_batch":
            await dumper.send_batch(batch)
        else:
            for packet in batch:
                await dumper.send(packet)
        if flush:
            await dumper.flush()


@pytest.mark.parametrize("way", ["send", "send_batch"])
@pytest.mark.parametrize("target", ["path", "descriptor", "raw file object"])
async def test_a_file_on_a_full_disk_ends_with_a_whole_record(
    target: str, way: str, tmp_path: Path
) -> None:
    batch = await batch_of(500)
    with small_disk(tmp_path, 64 * 1024) as folder:
        path = folder / "file.pcap"
        file = path.open("wb", buffering=0)
        goal: Any = {"path": path, "descriptor": file.fileno(), "raw file object": file}[target]
        with file:
            dumper = await aiopcap.dump_open(goal, linktype=1)
            with pytest.raises(aiopcap.SavefileWriteError) as caught:
                await send_for_ever(dumper, batch, way, flush=True)
            assert caught.value.errno == errno.ENOSPC
            await dumper.aclose()
        content = path.read_bytes()
        if target == "raw file object":
            content = content[: HEADER + (len(content) - HEADER) // RECORD * RECORD]
        numbers = written(content)
    assert len(content) > 60 * 1024
    assert numbers == [number % 500 for number in range(len(numbers))]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: to the byte, as no disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("earlier", [0, 2])
async def test_wherever_a_write_stops_the_file_ends_with_a_whole_record(
    earlier: int, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    for limit in range(HEADER + earlier * RECORD, HEADER + (earlier + 3) * RECORD, 5):
        with file_size_limit(limit):
            dumper = await aiopcap.dump_open(path, linktype=1)
            if earlier:
                for packet in packets(earlier):
                    await dumper.send(packet)
                await dumper.flush()
            for packet in packets(10, start=earlier):
                await dumper.send(packet)
            with pytest.raises(aiopcap.SavefileWriteError) as caught:
                await dumper.flush()
            assert caught.value.errno == errno.EFBIG
            assert path.stat().st_size == dumper.tell()
            await dumper.aclose()
        content = path.read_bytes()
        assert len(content) == limit - (limit - HEADER) % RECORD
        assert written(content) == list(range((limit - HEADER) // RECORD))


async def test_a_file_without_room_for_its_header(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    for limit in (0, 5, 23):
        with file_size_limit(limit):
            dumper = await aiopcap.dump_open(path, linktype=1)
            with pytest.raises(aiopcap.SavefileWriteError):
                await dumper.aclose()
        assert path.read_bytes() == b""


async def test_an_error_in_a_with_block_is_not_hidden_by_the_one_of_closing() -> None:
    with pytest.raises(ZeroDivisionError):
        await fail_and_leave()


async def fail_and_leave() -> None:
    async with await aiopcap.dump_open("/dev/full", linktype=1) as dumper:
        await dumper.send(Packet(b"data"))
        with pytest.raises(aiopcap.SavefileWriteError):
            await dumper.flush()
        _ = 1 // 0


class Breaking(io.RawIOBase):
    """Takes so many bytes, a few a time, then raises."""

    def __init__(self, room: int, error: Exception) -> None:
        self.content = bytearray()
        self._room = room
        self._error = error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._room == 0:
            raise self._error
        taken = min(len(data), self._room, 50)
        self.content += data[:taken]
        self._room -= taken
        return taken


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "broken"), ValueError("no"), ZeroDivisionError("oh")], ids=repr
)
async def test_an_error_of_a_file_object_reaches_the_sender_and_nothing_comes_twice(
    error: Exception,
) -> None:
    target = Breaking(300, error)
    dumper = await aiopcap.dump_open(target, linktype=1)
    for packet in packets(10):
        await dumper.send(packet)
    expected = aiopcap.SavefileWriteError if isinstance(error, OSError) else type(error)
    for _ in range(2):
        with pytest.raises(expected):
            await dumper.flush()
    await dumper.aclose()
    found = read_pcap(bytes(target.content))
    assert [number_of(record.data) for record in found.records] == [0, 1, 2]
    assert len(target.content) == 300


async def test_an_object_that_takes_nothing_is_an_error() -> None:
    class Nothing:
        def write(self, _data: Any) -> int:
            return 0

    dumper = await aiopcap.dump_open(Nothing(), linktype=1)
    with anyio.fail_after(5), pytest.raises(aiopcap.SavefileWriteError):
        await dumper.flush()
    await dumper.aclose()
