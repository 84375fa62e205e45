"""Savefiles that another program is still writing: pipes, FIFOs and terminals."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread, wait_all_tasks_blocked

import aiopcap
from tests.reading import as_records, checkpoints, pipe, rest_of
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, pcap_record, records
from tests.support.programs import run_python
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(50))

PIECES = [pcap_record(packet) for packet in PACKETS]

CONTENT = pcap_bytes(PACKETS)


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
    # A thread that was still opening it closes it in its own time.
    with anyio.fail_after(5):
        while open_descriptors() != before:
            await anyio.lowlevel.checkpoint()


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


async def test_reading_never_changes_the_callers_descriptor() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT)
        os.close(writer)
        async with await aiopcap.open_offline(reader) as capture:
            assert os.get_blocking(reader)
            await capture.receive()
            await checkpoints(3)
            assert os.get_blocking(reader)
