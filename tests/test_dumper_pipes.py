"""Pipes that nobody reads for a while, or at all, under a dumper."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import Packet
from tests.dumping import batch_of, packets, written
from tests.support.event_loop import loop_lag
from tests.support.frames import number_of
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio


@contextmanager
def small_pipe(*, blocking: bool = True) -> Iterator[tuple[int, int]]:
    """A pipe of one page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, blocking)
    try:
        yield reader, writer
    finally:
        for fd in (reader, writer):
            if fd in open_descriptors():
                os.close(fd)


def drain(reader: int, into: bytearray) -> threading.Thread:
    """Read a pipe to its end in a thread."""

    def read() -> None:
        while data := os.read(reader, 65536):
            into.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


async def test_a_reader_that_has_left_is_reported() -> None:
    with small_pipe() as (reader, writer):
        dumper = await aiopcap.dump_open(writer, linktype=1)
        await dumper.send(Packet(b"data"))
        os.close(reader)
        with pytest.raises(aiopcap.SavefileWriteError) as caught:
            await dumper.flush()
        assert caught.value.errno == errno.EPIPE
        await dumper.aclose()


@pytest.mark.parametrize(
    ("kind", "blocking"),
    [
        ("descriptor", True),
        ("descriptor", False),
        ("raw file object", True),
        ("raw file object", False),
        ("file object", True),
    ],
)
async def test_a_reader_that_takes_its_time_gets_everything(kind: str, blocking: bool) -> None:
    got = bytearray()
    batch = await batch_of(2000)
    with small_pipe(blocking=blocking) as (reader, writer):
        buffering = -1 if kind == "file object" else 0
        with open(writer, "wb", buffering=buffering, closefd=False) as file:
            async with (
                loop_lag(0.002) as lag,
                await aiopcap.dump_open(
                    writer if kind == "descriptor" else file, linktype=1
                ) as dumper,
                anyio.create_task_group() as tasks,
            ):
                await dumper.send_batch(batch)
                tasks.start_soon(dumper.flush)
                # The pipe is full, and the loop goes on.
                while lag.count < 10:
                    await checkpoint()
                thread = drain(reader, got)
        assert os.get_blocking(writer) == blocking
        os.close(writer)
        await to_thread.run_sync(thread.join)
    assert written(bytes(got)) == list(range(2000))
    assert lag.max < 0.25


async def test_a_fifo_that_nobody_has_opened_yet(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = bytearray()
    async with loop_lag(0.002) as lag, anyio.create_task_group() as tasks:

        async def write() -> None:
            async with await aiopcap.dump_open(fifo, linktype=1) as dumper:
                for packet in packets(100):
                    await dumper.send(packet)

        tasks.start_soon(write)
        while lag.count < 10:
            await checkpoint()
        reader = await to_thread.run_sync(os.open, fifo, os.O_RDONLY)
        await to_thread.run_sync(drain(reader, got).join)
        os.close(reader)
    assert written(bytes(got)) == list(range(100))


async def test_a_capture_reads_what_a_dumper_writes_into_a_pipe() -> None:
    reader, writer = os.pipe()
    got: list[int] = []
    try:
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                async with await aiopcap.open_offline(reader) as capture:
                    got.extend([number_of(packet.data) async for packet in capture])

            tasks.start_soon(read)
            async with await aiopcap.dump_open(writer, linktype=1) as dumper:
                os.close(writer)
                for packet in packets(20_000):
                    await dumper.send(packet)
    finally:
        os.close(reader)
    assert got == list(range(20_000))


@pytest.mark.parametrize("way", ["send", "send_batch"])
async def test_a_sender_that_waits_for_a_full_pipe_can_be_cancelled(way: str) -> None:
    got = bytearray()
    batch = await batch_of(1000)
    sent = 0
    thread = None
    with small_pipe() as (reader, writer):
        dumper = await aiopcap.dump_open(writer, linktype=1)

        async def send() -> None:
            nonlocal sent
            while True:
                if way == "send_batch":
                    await dumper.send_batch(batch)
                    sent += len(batch)
                else:
                    for packet in batch:
                        await dumper.send(packet)
                        sent += 1

        with anyio.move_on_after(5) as patience:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                seen = -1
                while seen != sent or sent == 0:
                    seen = sent
                    await anyio.wait_all_tasks_blocked()
                # Whatever happens now, the test itself must end.
                rescue = threading.Timer(4, lambda: drain(reader, got))
                rescue.start()
                tasks.cancel_scope.cancel()
        rescued = not rescue.is_alive()
        rescue.cancel()
        rescue.join()
        if not rescued:
            thread = drain(reader, got)
        await dumper.aclose()
        os.close(writer)
        if thread is not None:
            await to_thread.run_sync(thread.join)
    assert not rescued
    assert not patience.cancelled_caught
    numbers = written(bytes(got))
    # What was being sent is in the file whole, or not at all.
    assert len(numbers) - sent in (0, 1 if way == "send" else len(batch))
    assert numbers == [number % 1000 for number in range(len(numbers))]
