"""Savefiles that another program is still writing: pipes, FIFOs and sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import aiopcap
from tests.reading import SlowFile, as_records, checkpoints, read_all, rest_of
from tests.support.event_loop import loop_lag
from tests.support.frames import frame, number_of, numbered, udp_frame
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, pcap_record, records
from tests.support.programs import run_python
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(50))
PIECES = [pcap_record(packet) for packet in PACKETS]
CONTENT = pcap_bytes(PACKETS)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; the writer may be closed before."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        if writer in open_descriptors():
            os.close(writer)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def test_packets_come_as_they_are_written(fifo: Path) -> None:
    opened: list[aiopcap.OfflineCapture] = []

    async def open_it() -> None:
        opened.append(await aiopcap.open_offline(fifo))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_it)
        await wait_all_tasks_blocked()
        writer = await to_thread.run_sync(os.open, fifo, os.O_WRONLY)
        os.write(writer, CONTENT[:10])
        await wait_all_tasks_blocked()
        assert opened == []
        os.write(writer, CONTENT[10:24])
    [capture] = opened
    async with capture:
        for number, piece in enumerate(PIECES):
            with pytest.raises(anyio.WouldBlock):
                capture.receive_nowait()
            os.write(writer, piece)
            packet = capture.receive_nowait() if number % 2 else await capture.receive()
            assert number_of(packet.data) == number
        os.close(writer)
        with pytest.raises(anyio.EndOfStream):
            await capture.receive()


async def test_half_a_record_is_not_delivered_before_its_other_half() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT[:24])
        async with await aiopcap.open_offline(reader) as capture:
            for piece in PIECES[:2]:
                for half in (piece[:7], piece[7:40]):
                    os.write(writer, half)
                    with anyio.CancelScope() as scope:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(capture.receive)
                            await wait_all_tasks_blocked()
                            scope.cancel()
                    assert scope.cancelled_caught
                os.write(writer, piece[40:])
                assert (await capture.receive()).data == piece[16:]


@pytest.mark.parametrize("stage", ["no writer", "no header", "half a header", "no packet"])
async def test_waiting_ends_at_once_when_it_is_cancelled(fifo: Path, stage: str) -> None:
    before = open_descriptors()
    writer = -1

    async def read() -> None:
        async with await aiopcap.open_offline(fifo) as capture:
            await capture.receive()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        if stage != "no writer":
            writer = await to_thread.run_sync(os.open, fifo, os.O_WRONLY)
            head = {"no header": b"", "half a header": CONTENT[:12], "no packet": CONTENT[:24]}
            os.write(writer, head[stage])
            await wait_all_tasks_blocked()
        with anyio.fail_after(5):
            tasks.cancel_scope.cancel()
    if writer >= 0:
        os.close(writer)
    assert open_descriptors() == before


async def test_closing_wakes_the_reader_of_a_pipe() -> None:
    outcome: list[str] = []

    async def read(capture: aiopcap.OfflineCapture) -> None:
        try:
            await capture.receive()
        except anyio.ClosedResourceError:
            outcome.append("closed")

    with pipe() as (reader, writer):
        os.write(writer, CONTENT[:24])
        capture = await aiopcap.open_offline(reader)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, capture)
            await wait_all_tasks_blocked()
            with anyio.fail_after(5):
                await capture.aclose()
        assert outcome == ["closed"]
        os.write(writer, b"the pipe itself is still open")
        assert os.read(reader, 100) == b"the pipe itself is still open"


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17, 75])
async def test_a_writer_that_leaves_in_the_middle_of_a_record(cut: int) -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT[: 24 + 3 * 76 + cut])
        os.close(writer)
        async with await aiopcap.open_offline(reader) as capture:
            packets, error = await rest_of(capture)
    assert as_records(packets) == [Record(p.timestamp_ns, p.data, 60) for p in PACKETS[:3]]
    assert isinstance(error, aiopcap.TruncatedSavefileError) == bool(cut)


@pytest.mark.parametrize("length", [0, 3, 23])
async def test_a_writer_that_leaves_before_the_header_is_complete(fifo: Path, length: int) -> None:
    async with anyio.create_task_group() as tasks:
        error: list[Exception] = []

        async def read() -> None:
            try:
                await aiopcap.open_offline(fifo)
            except aiopcap.TruncatedSavefileError as exc:
                error.append(exc)

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        writer = await to_thread.run_sync(os.open, fifo, os.O_WRONLY)
        os.write(writer, CONTENT[:length])
        os.close(writer)
    assert f"only got {length}" in str(error[0])


async def test_a_slow_writer_does_not_block_the_loop() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT[:24])
        got: list[aiopcap.Packet] = []
        async with (
            loop_lag(0.002) as lag,
            await aiopcap.open_offline(reader) as capture,
            anyio.create_task_group() as tasks,
        ):

            async def read() -> None:
                got.extend([packet async for packet in capture])

            tasks.start_soon(read)
            for piece in PIECES:
                turns = lag.count
                os.write(writer, piece[:30])
                while lag.count == turns:  # the loop turns while half a record is there
                    await checkpoint()
                os.write(writer, piece[30:])
            os.close(writer)
        assert len(got) == 50
        assert lag.max < 0.25


@pytest.mark.parametrize("expression", [None, "ip"])
async def test_a_fast_writer_does_not_keep_the_loop_for_itself(expression: str | None) -> None:
    # The writer never stops, and with the filter there is nothing to deliver between two reads.
    program = """
        import os, struct
        record = struct.pack("<IIII", 1, 1, 60, 60) + bytes(12) + b"\\x88\\xb5" + bytes(46)
        os.write(1, struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        block = record * 6000
        try:
            while True:
                left = memoryview(block)
                while left:
                    left = left[os.write(1, left):]
        except BrokenPipeError:
            pass
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        async with (
            await aiopcap.open_offline(writer.stdout.fileno(), filter=expression) as capture,
            loop_lag(0.005) as lag,
            anyio.create_task_group() as tasks,
        ):

            async def read() -> None:
                async for _ in capture.batches():
                    pass

            tasks.start_soon(read)
            while lag.count < 60:
                await checkpoint()
            tasks.cancel_scope.cancel()
        writer.stdout.close()
    assert lag.percentile(90) < 0.1


async def test_a_large_packet_that_trickles_in_is_not_copied_over_and_over() -> None:
    size = 24 * 1024 * 1024
    data = os.urandom(1024) * (size // 1024)
    content = pcap_bytes([Record(0, data)], linktype=231, snaplen=size)
    reader, writer = socket.socketpair()

    def send() -> None:
        with writer:
            writer.sendall(content)

    thread = threading.Thread(target=send)
    with reader:
        thread.start()
        async with loop_lag(0.005) as lag, await aiopcap.open_offline(reader.fileno()) as capture:
            packet = await capture.receive()
        thread.join()
    assert packet.data == data
    # 24 MiB in steps of 64 KiB or so; copied at each step, that would be 4 GiB.
    assert lag.max < 0.25


async def test_tcpdump_feeds_a_capture_through_a_pipe(tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    content = pcap_bytes(records([udp_frame(bytes([number])) for number in range(100)]))
    command = ["tcpdump", "-r", "-", "-w", "-", "--nano", "-U", "udp and less 1000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(content)
        program.stdin.close()
        packets, error = await read_all(program.stdout.fileno())
    assert (len(packets), error) == (100, None)


async def test_set_filter_on_a_pipe_is_in_force_at_once() -> None:
    with pipe() as (reader, writer):
        content = pcap_bytes(records([udp_frame(), frame(), udp_frame(), frame()] * 5))
        os.write(writer, content)
        async with await aiopcap.open_offline(reader) as capture:
            await capture.receive()
            await capture.set_filter("ether proto 0x88b5")
            os.write(writer, content[24:])
            os.close(writer)
            rest = [packet async for packet in capture]
    assert {packet.data for packet in rest} == {frame()}
    assert len(rest) == 20


async def test_two_readers_of_a_pipe_are_one_too_many() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT[:24])
        async with await aiopcap.open_offline(reader) as capture:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(capture.receive)
                await wait_all_tasks_blocked()
                for second in (capture.receive, capture.receive_batch, capture.__anext__):
                    with pytest.raises(anyio.BusyResourceError):
                        await second()
                with pytest.raises(anyio.BusyResourceError):
                    capture.receive_nowait()
                os.write(writer, PIECES[0])
            os.write(writer, PIECES[1])
            assert number_of((await capture.receive()).data) == 1


async def test_a_terminal_is_waited_for() -> None:
    ours, theirs = os.openpty()
    try:
        os.set_blocking(ours, True)
        raw_mode(theirs)
        os.write(ours, pcap_header() + PIECES[0])
        async with await aiopcap.open_offline(theirs) as capture:
            assert number_of((await capture.receive()).data) == 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(capture.receive)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
    finally:
        os.close(ours)
        os.close(theirs)


def raw_mode(fd: int) -> None:
    import tty

    tty.setraw(fd)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_ends_although_nobody_writes_into_its_pipe(backend: str, fifo: Path) -> None:
    printed = run_python(
        """
        import os, sys
        import anyio, aiopcap

        async def main():
            with anyio.move_on_after(0.1):
                await aiopcap.open_offline(sys.argv[1])
            reader, writer = os.pipe()
            os.write(writer, bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
            capture = await aiopcap.open_offline(reader)
            with anyio.move_on_after(0.1):
                await capture.receive()
            await capture.aclose()
            print("ended")

        anyio.run(main, backend=sys.argv[2])
        """,
        str(fifo),
        backend,
        timeout=20,
    )
    assert printed == b"ended\n"


async def test_many_slow_file_objects_leave_threads_for_others(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    files = [SlowFile(CONTENT, at_once=500) for _ in range(50)]
    captures = [await aiopcap.open_offline(file) for file in files]
    for file in files:
        file.hold()
    try:
        async with anyio.create_task_group() as tasks:
            for capture in captures:
                tasks.start_soon(rest_of, capture)
            await wait_all_tasks_blocked()
            with anyio.move_on_after(3) as scope:
                assert await to_thread.run_sync(lambda: "another thread") == "another thread"
                assert len((await read_all(path)).packets) == 50
            for file in files:
                file.release()
    finally:
        for file in files:
            file.release()
        for capture in captures:
            await capture.aclose()
    assert not scope.cancelled_caught


async def test_reading_never_changes_the_callers_descriptor() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT)
        os.close(writer)
        async with await aiopcap.open_offline(reader) as capture:
            assert os.get_blocking(reader)
            await capture.receive()
            await checkpoints(3)
            assert os.get_blocking(reader)
