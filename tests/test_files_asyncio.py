"""Files as users of asyncio cancel things: Task.cancel(), wait_for() and timeout()."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

import aiopcap
from aiopcap import Packet
from tests.dumping import packets, written
from tests.reading import SlowFile
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.resources import open_descriptors

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [
            ("asyncio", {"use_uvloop": False}),
            ("asyncio", {"use_uvloop": True}),
        ],
        ids=["asyncio", "uvloop"],
    ),
]

COUNT = 300
CONTENT = pcap_bytes(records(numbered(COUNT)))


@pytest.mark.parametrize("kind", ["path", "file object", "pipe"])
async def test_packets_under_wait_for_are_neither_lost_nor_repeated(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    reader, writer = os.pipe()
    os.write(writer, CONTENT)
    os.close(writer)
    source = {"path": path, "file object": SlowFile(CONTENT, at_once=500), "pipe": reader}[kind]
    got: list[int] = []
    rounds = 0
    try:
        async with await aiopcap.open_offline(source) as capture:
            while len(got) < COUNT:
                rounds += 1
                try:
                    packet = await asyncio.wait_for(capture.receive(), 0 if rounds % 3 else 5)
                except TimeoutError:
                    continue
                got.append(number_of(packet.data))
    finally:
        os.close(reader)
    assert got == list(range(COUNT))


async def test_a_task_that_reads_is_cancelled_and_another_goes_on() -> None:
    file = SlowFile(CONTENT, at_once=700)
    got: list[int] = []
    async with await aiopcap.open_offline(file) as capture:

        async def read() -> None:
            async for packet in capture:
                got.append(number_of(packet.data))  # noqa: PERF401 - what came before a cancel counts

        for turns in range(60):
            task = asyncio.create_task(read())
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                break  # it was quick, and is at the end
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await read()
    assert got == list(range(COUNT))
    assert not file.overlapped


async def test_a_timeout_around_a_read_that_blocks() -> None:
    file = SlowFile(CONTENT, at_once=700)
    async with await aiopcap.open_offline(file) as capture:
        first = [await capture.receive() for _ in range(5)]
        file.hold()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read_to_the_end(capture, first), 0.05)
        file.release()
        await read_to_the_end(capture, first)
    assert [number_of(packet.data) for packet in first] == list(range(COUNT))


async def read_to_the_end(capture: aiopcap.OfflineCapture, into: list[Packet]) -> None:
    async for packet in capture:
        into.append(packet)  # noqa: PERF401 - what came before a cancel counts


async def test_a_cancelled_open_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    before = open_descriptors().keys()
    for turns in range(30):
        for opening in (
            aiopcap.open_offline(path, filter="ip"),
            aiopcap.dump_open(tmp_path / "copy.pcap", linktype=1),
        ):
            task: asyncio.Task[aiopcap.OfflineCapture | aiopcap.Dumper]
            task = asyncio.create_task(opening)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                opened = await task
            except asyncio.CancelledError:
                continue
            await opened.aclose()
    async with asyncio.timeout(5):
        while open_descriptors().keys() - before:
            await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_closing_completes_the_file(turns: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    before = open_descriptors().keys()
    dumper = await aiopcap.dump_open(path, linktype=1)
    for packet in packets(1000):
        await dumper.send(packet)
    task = asyncio.create_task(dumper.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await dumper.aclose()
    async with asyncio.timeout(5):
        while open_descriptors().keys() - before:
            await asyncio.sleep(0)
    assert written(path.read_bytes()) == list(range(1000))


@pytest.mark.parametrize("way", ["send", "send_batch"])
async def test_a_cancelled_sender_leaves_whole_records(way: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.open_offline(CONTENT) as capture:
        batch = await capture.receive_batch()
    for turns in range(0, 200, 13):
        sent = 0
        async with await aiopcap.dump_open(path, linktype=1) as dumper:

            async def send(dumper: aiopcap.Dumper = dumper) -> None:
                nonlocal sent
                while True:
                    if way == "send_batch":
                        await dumper.send_batch(batch)
                        sent += len(batch)
                    else:
                        for packet in batch:
                            await dumper.send(packet)
                            sent += 1

            task = asyncio.create_task(send())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        numbers = written(path.read_bytes())
        most = len(batch) if way == "send_batch" else 1
        assert len(numbers) - sent in (0, most), turns
        assert numbers == [number % COUNT for number in range(len(numbers))]
