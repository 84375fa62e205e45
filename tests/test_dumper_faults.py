"""Disks that are full, pipes that nobody reads, cancels, closes and forks under a dumper."""

from __future__ import annotations

import errno
import fcntl
import gc
import inspect
import io
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope, to_thread
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import Packet
from tests.reading import checkpoints
from tests.support.event_loop import loop_lag
from tests.support.frames import number_of, numbered
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.programs import run_python
from tests.support.resources import open_descriptors, resources
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.anyio

HEADER = 24
RECORD = 16 + 60


def packets(count: int, start: int = 0) -> list[Packet]:
    return [Packet(data) for data in numbered(count, start=start)]


async def batch_of(count: int) -> aiopcap.PacketBatch:
    async with await aiopcap.open_offline(pcap_bytes(records(numbered(count)))) as capture:
        return await capture.receive_batch()


def written(content: bytes) -> list[int]:
    """The numbers of the packets in a file, which must end on a record's boundary."""
    found = read_pcap(content)
    assert found.complete
    return [number_of(record.data) for record in found.records]


# --- no room ----------------------------------------------------------------------------------


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


# --- pipes ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("kind", ["descriptor", "raw file object", "file object"])
async def test_a_reader_that_takes_its_time_gets_everything(kind: str, blocking: bool) -> None:
    if kind == "file object" and not blocking:
        pytest.skip("a buffered file object cannot be used without blocking")
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


async def test_a_sender_that_waits_for_a_full_pipe_can_be_cancelled() -> None:
    got = bytearray()
    batch = await batch_of(1000)
    sent = 0
    with small_pipe() as (reader, writer):
        dumper = await aiopcap.dump_open(writer, linktype=1)
        with anyio.fail_after(10):
            with CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def send() -> None:
                        nonlocal sent
                        while True:
                            for packet in batch:
                                await dumper.send(packet)
                                sent += 1

                    tasks.start_soon(send)
                    seen = -1
                    while seen != sent or sent == 0:
                        seen = sent
                        await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
        thread = drain(reader, got)
        await dumper.aclose()
        os.close(writer)
        await to_thread.run_sync(thread.join)
    numbers = written(bytes(got))
    # The packet that was being sent is in the file whole, or not at all.
    assert len(numbers) in (sent, sent + 1)
    assert numbers == [number % 1000 for number in range(len(numbers))]


# --- several senders, cancels -----------------------------------------------------------------


async def test_records_of_several_senders_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    batch = await batch_of(100)
    count = 3000

    async def one_by_one(dumper: aiopcap.Dumper, start: int) -> None:
        for packet in packets(count, start):
            await dumper.send(packet)

    async def in_batches(dumper: aiopcap.Dumper) -> None:
        for _ in range(count // 100):
            await dumper.send_batch(batch)

    async def flushing(dumper: aiopcap.Dumper) -> None:
        for _ in range(30):
            await dumper.flush()

    async with (
        await aiopcap.dump_open(path, linktype=1) as dumper,
        anyio.create_task_group() as tasks,
    ):
        for start in (10_000, 20_000, 30_000):
            tasks.start_soon(one_by_one, dumper, start)
        tasks.start_soon(in_batches, dumper)
        tasks.start_soon(flushing, dumper)
    numbers = written(path.read_bytes())
    assert len(numbers) == 4 * count
    for start in (10_000, 20_000, 30_000):
        mine = [number for number in numbers if start <= number < start + 10_000]
        assert mine == list(range(start, start + count))
    batched = [index for index, number in enumerate(numbers) if number == 0]
    for index in batched:
        assert numbers[index : index + 100] == list(range(100))


@pytest.mark.parametrize("way", ["send", "send_batch", "flush"])
async def test_cancelled_after_any_number_of_turns(way: str, tmp_path: Path) -> None:
    batch = await batch_of(20)
    large = [Packet(bytes(300_000) + number.to_bytes(8, "big")) for number in range(3)]
    for turns in (*range(25), *range(25, 120, 19)):
        path = tmp_path / "file.pcap"
        sent: list[Packet] = []
        in_flight: list[Packet] = []
        async with await aiopcap.dump_open(path, linktype=1, snaplen=1 << 20) as dumper:
            with CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def cancel(scope: CancelScope = scope, turns: int = turns) -> None:
                        await checkpoints(turns)
                        scope.cancel()

                    tasks.start_soon(cancel)
                    for number in range(30):
                        in_flight[:] = list(batch) if way == "send_batch" else [large[number % 3]]
                        if way == "send_batch":
                            await dumper.send_batch(batch)
                        else:
                            await dumper.send(in_flight[0])
                        sent += in_flight
                        in_flight.clear()
                        if way == "flush":
                            await dumper.flush()
                    tasks.cancel_scope.cancel()
        found = read_pcap(path.read_bytes())
        assert found.complete
        datas = [record.data for record in found.records]
        whole = [packet.data for packet in sent]
        assert datas in (whole, whole + [packet.data for packet in in_flight]), turns


async def test_cancelled_closing_still_completes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    before = open_descriptors()
    dumper = await aiopcap.dump_open(path, linktype=1)
    for packet in packets(100):
        await dumper.send(packet)
    with CancelScope() as scope:
        scope.cancel()
        await dumper.aclose()
    assert written(path.read_bytes()) == list(range(100))
    assert open_descriptors() == before


async def test_opening_is_cancelled_without_leaving_anything_open(tmp_path: Path) -> None:
    before = open_descriptors()
    for turns in range(12):
        with CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel(scope: CancelScope = scope, turns: int = turns) -> None:
                    await checkpoints(turns)
                    scope.cancel()

                tasks.start_soon(cancel)
                async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1):
                    pass
                tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        while open_descriptors().keys() - before.keys():
            await checkpoint()


# --- closing, forgetting, forking -------------------------------------------------------------

USES: dict[str, Callable[[aiopcap.Dumper, aiopcap.PacketBatch], Any]] = {
    "send": lambda dumper, _: dumper.send(Packet(b"x")),
    "send_batch": lambda dumper, batch: dumper.send_batch(batch),
    "flush": lambda dumper, _: dumper.flush(),
    "flush and sync": lambda dumper, _: dumper.flush(sync=True),
}


@pytest.mark.parametrize("name", USES)
async def test_nothing_works_on_a_closed_dumper(name: str, tmp_path: Path) -> None:
    batch = await batch_of(3)
    dumper = await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1)
    await dumper.aclose()
    for _ in range(2):
        with pytest.raises(anyio.ClosedResourceError):
            await USES[name](dumper, batch)
    assert dumper.tell() == HEADER  # what was written stays known
    await dumper.aclose()


async def test_every_public_method_is_tried_above() -> None:
    methods = {
        name
        for name, member in inspect.getmembers(aiopcap.Dumper, inspect.isfunction)
        if not name.startswith("_")
    } - {"aclose", "extra", "tell"}
    assert methods == {name.split()[0] for name in USES}


async def test_closing_while_others_send(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    sent = 0
    dumper = await aiopcap.dump_open(path, linktype=1)

    async def send() -> None:
        nonlocal sent
        try:
            for packet in packets(100_000):
                await dumper.send(packet)
                sent += 1
        except anyio.ClosedResourceError:
            return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while sent < 1000:
            await checkpoint()
        await dumper.aclose()
    assert sent < 100_000
    assert written(path.read_bytes()) == list(range(sent))


async def test_a_forgotten_dumper_warns_and_completes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    before = open_descriptors()
    kept = [await aiopcap.dump_open(path, linktype=1)]
    for packet in packets(100):
        await kept[0].send(packet)
    with pytest.warns(ResourceWarning, match=r"Unclosed.*file\.pcap"):
        forget(kept)
    assert written(path.read_bytes()) == list(range(100))
    assert open_descriptors() == before


def forget(kept: list[aiopcap.Dumper]) -> None:
    kept.clear()
    gc.collect()


@pytest.mark.memory
async def test_two_hundred_times_opened_and_closed_leave_nothing(tmp_path: Path) -> None:
    batch = await batch_of(100)

    async def once() -> None:
        async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1) as dumper:
            await dumper.send_batch(batch)
        dumper = await aiopcap.dump_open("/dev/full", linktype=1)
        await dumper.send_batch(batch)
        with pytest.raises(aiopcap.SavefileWriteError):
            await dumper.aclose()

    for _ in range(20):
        await once()
    before = resources()
    for _ in range(200):
        await once()
    after = resources()
    assert after.descriptors == before.descriptors
    assert after.mappings <= before.mappings + 10
    # Less than a tenth of the buffers of all of them.
    assert after.resident_bytes - before.resident_bytes < 40 * 1024 * 1024


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("ending", ["os._exit", "collected", "closed"])
def test_a_forked_child_writes_nothing_a_second_time(
    backend: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    printed = run_python(
        """
        import gc, os, sys, warnings
        import anyio, aiopcap

        async def main():
            dumper = await aiopcap.dump_open(sys.argv[1], linktype=1)
            for number in range(100):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
            child = os.fork()
            if child == 0:
                try:
                    try:
                        dumper.send(aiopcap.Packet(b"child")).send(None)
                    except StopIteration:
                        os.write(1, b"the child may send")
                    except RuntimeError:
                        pass
                    if sys.argv[3] == "closed":
                        try:
                            await dumper.aclose()
                        except RuntimeError:
                            pass
                    if sys.argv[3] == "collected":
                        del dumper
                        gc.collect()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            for number in range(100, 120):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
            await dumper.aclose()

        warnings.simplefilter("ignore")
        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        ending,
    )
    assert printed == b""
    assert written(path.read_bytes()) == list(range(120))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_forgets_its_dumper_completes_the_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    run_python(
        """
        import sys, warnings
        import anyio, aiopcap

        warnings.simplefilter("ignore", ResourceWarning)

        async def main():
            global dumper
            dumper = await aiopcap.dump_open(sys.argv[1], linktype=1)
            for number in range(100):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))

        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        timeout=20,
    )
    assert written(path.read_bytes()) == list(range(100))
