"""Savefiles that grow while they are read: `open_offline(..., follow=True)`."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from anyio import wait_all_tasks_blocked
from trio.testing import MockClock

import aiopcap
from tests.reading import as_records, checkpoints, pipe
from tests.savefile_samples import SAMPLES, Sample
from tests.support.compressors import FORMATS, pack
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import Record, pcap_bytes, pcap_record, records
from tests.support.programs import run_python
from tests.support.reference_reader import read_savefile
from tests.support.resources import open_descriptors
from tests.support.witnesses import require_program

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(60))
CONTENT = pcap_bytes(PACKETS)
EXPECTED = [Record(packet.timestamp_ns, packet.data, 60) for packet in PACKETS]
PIECES = [CONTENT[:24], *(pcap_record(packet) for packet in PACKETS)]


class Growing:
    """A file that a test writes piece by piece."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_bytes(b"")

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class Reader:
    """A task that follows a file, and what it has got."""

    def __init__(self, path: Any) -> None:
        self._path = path
        self._more = anyio.Event()
        self.packets: list[aiopcap.Packet] = []
        self.capture: aiopcap.OfflineCapture | None = None

    async def read(self) -> None:
        async with await aiopcap.open_offline(self._path, follow=True) as self.capture:
            async for packet in self.capture:
                self.packets.append(packet)
                self._more.set()
        raise AssertionError("a followed file never ends")

    async def until(self, count: int) -> None:
        """Wait until so many packets have come."""
        with anyio.fail_after(20):
            while len(self.packets) < count:
                self._more = anyio.Event()
                await self._more.wait()
        assert len(self.packets) == count


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    return Growing(tmp_path / "growing.pcap")


async def test_what_is_written_comes_once_and_in_order(growing: Growing) -> None:
    reader = Reader(growing.path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        await wait_all_tasks_blocked()
        assert reader.capture is None
        growing.write(PIECES[0])
        for number, piece in enumerate(PIECES[1:11]):
            growing.write(piece)
            await reader.until(number + 1)
        growing.write(b"".join(PIECES[11:]))
        await reader.until(60)
        tasks.cancel_scope.cancel()
    assert as_records(reader.packets) == EXPECTED


@pytest.mark.parametrize("cut", [1, 3, 4, 23, 24, 25, 39, 40, 41, 99, 100, 101, 1000])
async def test_cut_anywhere_the_rest_is_waited_for(cut: int, growing: Growing) -> None:
    reader = Reader(growing.path)
    growing.write(CONTENT[:cut])
    complete = max(cut - 24, 0) // 76
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        if complete:
            await reader.until(complete)
        await wait_all_tasks_blocked()
        assert len(reader.packets) == complete
        growing.write(CONTENT[cut:])
        await reader.until(60)
        tasks.cancel_scope.cancel()
    assert as_records(reader.packets) == EXPECTED


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_every_kind_of_savefile(sample: Sample, growing: Growing) -> None:
    expected = read_savefile(sample.content).packets
    reader = Reader(growing.path)
    growing.write(sample.content[: sample.opens])
    ends = sorted({end for end, _ in sample.boundaries[1:]})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        before = sample.opens
        for end in ends:
            growing.write(sample.content[before : end - 3])
            await checkpoints(3)
            growing.write(sample.content[end - 3 : end])
            before = end
            await reader.until(dict(sample.boundaries)[end])
        tasks.cancel_scope.cancel()
    assert as_records(reader.packets) == expected


@pytest.mark.parametrize("format", FORMATS)
async def test_a_compressed_file_grows_too(format: str, growing: Growing) -> None:
    compressed = pack(format, CONTENT)
    members = compressed + pack(format, b"".join(PIECES[1:]))
    reader = Reader(growing.path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        growing.write(members[:3])
        await checkpoints(5)
        growing.write(members[3 : len(compressed) // 2])
        await checkpoints(5)
        growing.write(members[len(compressed) // 2 : len(compressed)])
        await reader.until(60)
        assert reader.capture is not None
        assert reader.capture.compression == format
        growing.write(members[len(compressed) :])
        await reader.until(120)
        tasks.cancel_scope.cancel()
    assert as_records(reader.packets) == EXPECTED * 2


async def test_a_file_that_another_program_writes(tmp_path: Path) -> None:
    source, target = tmp_path / "source.pcap", tmp_path / "target.pcap"
    source.write_bytes(CONTENT)
    target.write_bytes(b"")
    reader = Reader(target)
    with target.open("ab") as file:
        argv = [require_program("tcpdump"), "-U", "-r", "-", "-w", "-"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read)
            await wait_all_tasks_blocked()
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file, stderr=-3) as program:
                assert program.stdin is not None
                for piece in (PIECES[0], *PIECES[1:11]):
                    program.stdin.write(piece)
                program.stdin.flush()
                program.stdin.close()
            await reader.until(10)
            tasks.cancel_scope.cancel()
    assert as_records(reader.packets) == EXPECTED[:10]


async def test_a_dumper_and_its_reader(growing: Growing) -> None:
    reader = Reader(growing.path)
    async with (
        await aiopcap.dump_open(growing.path, linktype=1) as dumper,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(reader.read)
        for number in range(5):
            await dumper.send(aiopcap.Packet(PACKETS[number].data))
            await dumper.flush()
            await reader.until(number + 1)
        tasks.cancel_scope.cancel()
    assert [number_of(packet.data) for packet in reader.packets] == [0, 1, 2, 3, 4]


async def test_a_descriptor_is_followed(growing: Growing) -> None:
    growing.write(CONTENT)
    with growing.path.open("rb") as file:
        reader = Reader(file.fileno())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read)
            await reader.until(60)
            growing.write(PIECES[1])
            await reader.until(61)
            tasks.cancel_scope.cancel()


def test_standard_input_is_followed_when_it_is_a_file(growing: Growing) -> None:
    growing.write(CONTENT)
    printed = run_python(
        """
        import os, sys
        import anyio, aiopcap

        async def main():
            os.dup2(os.open(sys.argv[1], os.O_RDONLY), 0)
            async with await aiopcap.open_offline("-", follow=True) as capture:
                for _ in range(60):
                    packet = await capture.receive()
                with open(sys.argv[1], "ab") as file:
                    file.write(bytes(16))
                print(len((await capture.receive()).data))

        anyio.run(main)
        """,
        str(growing.path),
    )
    assert printed == b"0\n"


async def test_a_filter_waits_for_what_passes(growing: Growing) -> None:
    growing.write(CONTENT)
    async with await aiopcap.open_offline(
        growing.path, filter="ether[14:4] = 0 and ether[18:4] = 77", follow=True
    ) as capture:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(capture.receive)
                await wait_all_tasks_blocked()
                scope.cancel()
        growing.write(b"".join(pcap_record(record) for record in records(numbered(10, start=70))))
        with anyio.fail_after(20):
            assert number_of((await capture.receive()).data) == 77


# -- ending it -------------------------------------------------------------------------------------


@pytest.fixture
def long_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a wait is not that the file is looked at."""
    monkeypatch.setattr("aiopcap._streams.offline.FOLLOW_INTERVAL", 60.0)


@pytest.mark.usefixtures("long_interval")
@pytest.mark.parametrize("length", [0, 10, 24, 50, len(CONTENT)])
async def test_waiting_is_cancelled_at_once(length: int, growing: Growing) -> None:
    growing.write(CONTENT[:length])
    before = open_descriptors()
    reader = Reader(growing.path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        await reader.until(max(length - 24, 0) // 76)
        await wait_all_tasks_blocked()
        started = time.perf_counter()
        tasks.cancel_scope.cancel()
    assert time.perf_counter() - started < 5
    # A thread that was reading the header closes it in its own time.
    with anyio.fail_after(5):
        while open_descriptors() != before:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
async def test_cancelled_no_packet_is_lost_or_comes_twice(turns: int, growing: Growing) -> None:
    growing.write(PIECES[0])
    got: list[int] = []
    async with await aiopcap.open_offline(growing.path, follow=True) as capture:

        async def read() -> None:
            async for packet in capture:
                got.append(number_of(packet.data))  # noqa: PERF401 - those before a cancel count

        for piece in PIECES[1:]:
            growing.write(piece[:7])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await checkpoints(turns)
                growing.write(piece[7:])
                await checkpoints(turns)
                tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            while len(got) < 60:
                got.append(number_of((await capture.receive()).data))
    assert got == list(range(60))


@pytest.mark.usefixtures("long_interval")
@pytest.mark.parametrize("way", ["receive", "loop", "batches"])
async def test_closing_wakes_the_reader_at_once(way: str, growing: Growing) -> None:
    growing.write(CONTENT)
    capture = await aiopcap.open_offline(growing.path, follow=True)
    ways: dict[str, Callable[[], Any]] = {
        "receive": capture.receive,
        "loop": capture.__anext__,
        "batches": capture.receive_batch,
    }
    closed = False

    async def read() -> None:
        nonlocal closed
        try:
            while True:
                await ways[way]()
        except anyio.ClosedResourceError:
            closed = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await capture.aclose()
    assert closed


async def test_a_file_that_is_cut_is_an_error_after_what_was_read(growing: Growing) -> None:
    growing.write(CONTENT)
    async with await aiopcap.open_offline(growing.path, follow=True) as capture:
        for _ in range(59):
            await capture.receive()
        os.truncate(growing.path, 100)
        assert number_of((await capture.receive()).data) == 59
        for _ in range(3):
            with anyio.fail_after(20), pytest.raises(aiopcap.SavefileError, match="shorter"):
                await capture.receive()


async def test_a_file_that_is_replaced_is_followed_under_its_old_name_or_none(
    growing: Growing,
) -> None:
    growing.write(CONTENT)
    reader = Reader(growing.path)
    with growing.path.open("ab") as old:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read)
            await reader.until(60)
            growing.path.rename(growing.path.with_suffix(".1"))
            growing.path.write_bytes(CONTENT)
            old.write(PIECES[1])
            old.flush()
            await reader.until(61)
            old_path = growing.path.with_suffix(".1")
            old_path.unlink()
            old.write(PIECES[2])
            old.flush()
            await reader.until(62)
            tasks.cancel_scope.cancel()


async def test_what_is_no_savefile_is_an_error(growing: Growing) -> None:
    growing.write(b"no savefile")
    with pytest.raises(aiopcap.SavefileError, match="unknown file format"):
        await aiopcap.open_offline(growing.path, follow=True)


async def test_what_cannot_be_followed(tmp_path: Path) -> None:
    before = open_descriptors()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pipe() as (reader, _):
        for source in (CONTENT, bytearray(CONTENT), io.BytesIO(CONTENT), reader, fifo, "/dev/null"):
            with pytest.raises(ValueError, match="follow"):
                await aiopcap.open_offline(source, follow=True)
    with pytest.raises(IsADirectoryError):
        await aiopcap.open_offline(tmp_path, follow=True)
    with pytest.raises(FileNotFoundError):
        await aiopcap.open_offline(tmp_path / "missing", follow=True)
    assert open_descriptors() == before


# -- the clock -------------------------------------------------------------------------------------


async def test_waiting_costs_next_to_nothing(growing: Growing) -> None:
    growing.write(CONTENT)
    reader = Reader(growing.path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        await reader.until(60)
        before = time.process_time()
        await anyio.sleep(1)
        assert time.process_time() - before < 0.2
        tasks.cancel_scope.cancel()


def test_it_waits_by_the_clock_of_the_event_loop(growing: Growing) -> None:
    growing.write(CONTENT)
    real = time.perf_counter()

    async def main() -> None:
        reader = Reader(growing.path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read)
            while len(reader.packets) < 60:
                await trio.sleep(1)
            await trio.sleep(600)
            growing.write(PIECES[1])
            while len(reader.packets) < 61:
                await trio.sleep(1)
            assert trio.current_time() > 600
            tasks.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert time.perf_counter() - real < 60
