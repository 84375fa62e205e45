"""Disks that are slower than the packets come: what waits, what is dropped, what it costs."""

from __future__ import annotations

import io
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import Packet, Rotation
from tests.dumping import HEADER, RECORD, as_batch, names, packets, send_all, written
from tests.support.event_loop import loop_lag
from tests.support.frames import number_of
from tests.support.oracle import read_pcap
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio

# Of the buffers below, each holds ten records.
SMALL = 2 * 10 * RECORD

ways = pytest.mark.parametrize("way", ["send", "send_batch"])
policies = pytest.mark.parametrize("when_full", ["wait", "drop"])


class Gated:
    """A file object that takes nothing until its gate is opened."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def write(self, data: Any) -> int:
        self.entered.set()
        self.gate.wait(30)
        self.content += data
        return len(data)

    def numbers(self) -> list[int]:
        return written(bytes(self.content))


@pytest.fixture
def gated() -> Iterator[Gated]:
    """A file object; its gate is open at the latest when the test ends."""
    gated = Gated()
    yield gated
    gated.gate.set()


class Slow:
    """A file object on a disk that takes 200 ms for each write."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.writes = 0

    def write(self, data: Any) -> int:
        time.sleep(0.2)
        self.content += data
        self.writes += 1
        return len(data)


# -- dropping --------------------------------------------------------------------------------------


@ways
async def test_what_does_not_fit_is_dropped_and_counted(way: str, gated: Gated) -> None:
    async with await aiopcap.dump_open(
        gated, linktype=1, buffer_bytes=SMALL, when_full="drop"
    ) as dumper:
        await send_all(dumper, packets(35), way)
        assert dumper.dropped == 15
        await send_all(dumper, packets(5, start=35), way)
        assert dumper.dropped == 20
        assert dumper.tell() == HEADER + 20 * RECORD
        gated.gate.set()
        await dumper.flush()
        await send_all(dumper, packets(10, start=40), way)
        assert dumper.dropped == 20
    assert gated.numbers() == [*range(20), *range(40, 50)]


async def test_a_batch_keeps_its_first_packets(gated: Gated) -> None:
    async with await aiopcap.dump_open(
        gated, linktype=1, buffer_bytes=SMALL, when_full="drop"
    ) as dumper:
        for start in range(0, 28, 7):
            await dumper.send_batch(await as_batch(packets(7, start)))
        assert dumper.dropped == 8
        gated.gate.set()
    assert gated.numbers() == list(range(20))


async def test_nobody_waits_for_one_who_flushes(gated: Gated) -> None:
    async with (
        await aiopcap.dump_open(gated, linktype=1, buffer_bytes=SMALL, when_full="drop") as dumper,
        anyio.create_task_group() as tasks,
    ):
        await dumper.send(packets(1)[0])
        tasks.start_soon(dumper.flush)
        while not gated.entered.is_set():
            await checkpoint()
        with anyio.fail_after(5):
            await send_all(dumper, packets(10, start=1))
            await dumper.send_batch(await as_batch(packets(10, start=11)))
        assert dumper.dropped == 10
        gated.gate.set()
    assert gated.numbers() == list(range(11))


class Counted:
    """A file object that takes as many writes as it was allowed."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.allowed = threading.Semaphore(0)
        self.third = threading.Event()
        self._calls = 0

    def write(self, data: Any) -> int:
        self._calls += 1
        if self._calls == 3:
            self.third.set()
        self.allowed.acquire(timeout=30)
        self.content += data
        return len(data)


async def test_one_who_flushes_finds_the_thread_at_the_next_buffer_already() -> None:
    target = Counted()
    large = Packet(packets(1, start=15)[0].data.ljust(8 * RECORD, b"\0"))
    async with (
        await aiopcap.dump_open(target, linktype=1, buffer_bytes=SMALL, when_full="drop") as dumper,
        anyio.create_task_group() as tasks,
    ):
        await send_all(dumper, packets(15))
        tasks.start_soon(dumper.flush)
        await anyio.wait_all_tasks_blocked()  # for the thread, that writes the first ten
        # The first write ends, and before the flush notices there is a second one.
        target.allowed.release(2)
        sent = 15
        while not target.third.wait(0.1):
            await dumper.send(large)
            sent += 1
            assert sent < 60
        for _ in range(10):
            await checkpoint()
        await send_all(dumper, packets(3, start=16))
        target.allowed.release(100)
    numbers = written(bytes(target.content))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) + dumper.dropped == sent + 3


async def test_a_packet_larger_than_a_buffer_is_not_lost_for_that(gated: Gated) -> None:
    large = Packet(bytes(5000))
    async with await aiopcap.dump_open(
        gated, linktype=1, buffer_bytes=SMALL, when_full="drop"
    ) as dumper:
        await dumper.send(large)
        await dumper.send(large)  # both buffers are large now, and full
        await dumper.send(Packet(b"small"))
        assert dumper.dropped == 1
        gated.gate.set()
        await dumper.flush()
        await dumper.send_batch(await as_batch([large, Packet(b"small")]))
    found = [len(record.data) for record in read_pcap(bytes(gated.content)).records]
    assert found in ([5000, 5000, 5000, 5], [5000, 5000, 5000])
    assert len(found) + dumper.dropped == 5


async def test_many_senders_and_flushes_lose_only_what_is_counted(tmp_path: Path) -> None:
    # Handing over goes on beside a flush here, so nothing may be written twice or torn.
    path = tmp_path / "file.pcap"

    async def send(dumper: aiopcap.Dumper, start: int) -> None:
        for packet in packets(3000, start):
            await dumper.send(packet)

    async def flush(dumper: aiopcap.Dumper) -> None:
        for number in range(100):
            await dumper.flush(sync=number % 10 == 0)

    async with (
        await aiopcap.dump_open(path, linktype=1, buffer_bytes=SMALL, when_full="drop") as dumper,
        anyio.create_task_group() as tasks,
    ):
        for start in (0, 10_000, 20_000):
            tasks.start_soon(send, dumper, start)
        for _ in range(3):
            tasks.start_soon(flush, dumper)
    numbers = written(path.read_bytes())
    assert len(numbers) + dumper.dropped == 9000
    for start in (0, 10_000, 20_000):
        mine = [number for number in numbers if start <= number < start + 10_000]
        assert mine == sorted(set(mine))


async def test_packets_that_are_wrong_are_refused_and_not_counted(gated: Gated) -> None:
    async with await aiopcap.dump_open(
        gated, linktype=1, buffer_bytes=SMALL, when_full="drop"
    ) as dumper:
        await send_all(dumper, packets(20))
        with pytest.raises(ValueError, match="wire length"):
            await dumper.send(Packet(b"xx", wire_length=1))
        assert dumper.dropped == 0
        gated.gate.set()


async def test_a_disk_that_fails_is_no_reason_to_drop() -> None:
    dumper = await aiopcap.dump_open("/dev/full", linktype=1, buffer_bytes=SMALL, when_full="drop")
    batch = await as_batch(packets(1000))
    with pytest.raises(aiopcap.SavefileWriteError):
        await send_for_ever(dumper, batch)
    with pytest.raises(aiopcap.SavefileWriteError):
        await dumper.send_batch(batch)
    await dumper.aclose()


async def send_for_ever(dumper: aiopcap.Dumper, batch: aiopcap.PacketBatch) -> None:
    while True:
        await dumper.send_batch(batch)


# -- waiting ---------------------------------------------------------------------------------------


@ways
async def test_a_sender_waits_and_nothing_is_dropped(way: str, gated: Gated) -> None:
    sent = 0
    async with await aiopcap.dump_open(gated, linktype=1, buffer_bytes=SMALL) as dumper:

        async def send() -> None:
            nonlocal sent
            for start in range(0, 40, 5):
                await send_all(dumper, packets(5, start), way)
                sent += 5

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            while not gated.entered.is_set():
                await checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert sent == 20
            gated.gate.set()
        assert dumper.dropped == 0
    assert gated.numbers() == list(range(40))


@pytest.mark.parametrize("size", [0, -1])
async def test_what_is_no_size(size: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="buffer_bytes"):
        await aiopcap.dump_open(tmp_path / "file", linktype=1, buffer_bytes=size)
    assert not (tmp_path / "file").exists()


async def test_more_than_there_is_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    for rotate in None, Rotation(max_packets=1):
        with pytest.raises(MemoryError):
            await aiopcap.dump_open(
                tmp_path / "file", linktype=1, rotate=rotate, buffer_bytes=2**62
            )
    assert names(tmp_path) == ["file"]
    assert open_descriptors() == before


async def test_what_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="when_full"):
        await aiopcap.dump_open(
            tmp_path / "file",
            linktype=1,
            when_full="hope",  # type: ignore[arg-type] # what it is about
        )
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("buffer_bytes", [1, 100, 10_000_000])
@ways
async def test_every_size_of_buffers_works(buffer_bytes: int, way: str) -> None:
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, linktype=1, buffer_bytes=buffer_bytes) as dumper:
        await send_all(dumper, packets(100), way)
    assert written(target.getvalue()) == list(range(100))


# -- the price -------------------------------------------------------------------------------------


@policies
@ways
async def test_a_slow_disk_makes_nobody_else_late(way: str, when_full: Any) -> None:
    # Were the loop to wait for the disk, half of the ticks would be 100 ms late. (On a machine with
    # nothing else to do even p99 is below 5 ms, which the benchmarks look at; this one may have.)
    target = Slow()
    items = packets(5000)
    batch = await as_batch(items)
    async with (
        loop_lag(0.01) as lag,
        await aiopcap.dump_open(
            target, linktype=1, buffer_bytes=400_000, when_full=when_full
        ) as dumper,
    ):
        sent = 0
        while target.writes < 6:
            if way == "send":
                await send_all(dumper, items)
            else:
                await dumper.send_batch(batch)
            sent += len(items)
    assert lag.count > 50
    assert lag.percentile(50) < 0.05
    found = [number_of(record.data) for record in read_pcap(bytes(target.content)).records]
    assert len(found) + dumper.dropped == sent
    assert (dumper.dropped > 0) == (when_full == "drop")


@policies
async def test_a_slow_reader_of_a_pipe_makes_nobody_late(when_full: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = bytearray()
    done = threading.Event()

    def read() -> None:
        with fifo.open("rb", buffering=0) as file:
            while data := file.read(65536):
                got.extend(data)
                if not done.is_set():
                    time.sleep(0.2)

    async with loop_lag(0.01) as lag, anyio.create_task_group() as tasks:
        tasks.start_soon(to_thread.run_sync, read)
        async with await aiopcap.dump_open(
            fifo, linktype=1, buffer_bytes=100_000, when_full=when_full
        ) as dumper:
            sent = 0
            while len(got) < 300_000:
                await send_all(dumper, packets(500, start=sent))
                sent += 500
            done.set()
    assert lag.percentile(50) < 0.05
    numbers = written(bytes(got))
    assert len(numbers) + dumper.dropped == sent
    assert numbers == sorted(set(numbers))
    assert (dumper.dropped > 0) == (when_full == "drop")


@pytest.mark.memory
@policies
@ways
async def test_memory_has_a_bound(way: str, when_full: Any, gated: Gated) -> None:
    limit = 1_000_000
    batch = await as_batch([Packet(packet.data * 20) for packet in packets(200)])
    tracemalloc.start()
    try:
        async with await aiopcap.dump_open(
            gated, linktype=1, buffer_bytes=limit, when_full=when_full
        ) as dumper:
            before, _ = tracemalloc.get_traced_memory()
            with anyio.move_on_after(0.3):
                while True:
                    if way == "send":
                        for packet in batch:
                            await dumper.send(packet)
                    else:
                        await dumper.send_batch(batch)
            _, peak = tracemalloc.get_traced_memory()
            assert limit / 2 < peak - before < limit + 100_000
            gated.gate.set()
    finally:
        tracemalloc.stop()
