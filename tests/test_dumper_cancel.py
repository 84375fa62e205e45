"""Several senders at once, and cancels, under a dumper."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import Packet
from tests.dumping import batch_of, packets, written
from tests.reading import checkpoints
from tests.support.oracle import read_pcap
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio


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
