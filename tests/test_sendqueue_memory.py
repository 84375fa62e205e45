"""What a send queue costs: the bytes of its packets, and a few for each."""

from __future__ import annotations

from pathlib import Path

import pytest

import aiopcap
from aiopcap import SendQueue

from .support.frames import frame
from .support.pcapfiles import Record, pcap_bytes
from .support.resources import resources
from .support_live import ASYNCIO_ALONE

pytestmark = [pytest.mark.anyio, pytest.mark.memory]


def test_a_million_appended_packets_cost_their_bytes() -> None:
    data = frame()
    before = resources().resident_bytes
    queue = SendQueue()
    append = queue.append
    for number in range(1_000_000):
        append(data, number)
    grown = resources().resident_bytes - before
    assert queue[999_999].timestamp_ns == 999_999
    assert grown < 120 * 10**6


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE[:1], indirect=True)
async def test_a_million_packets_of_a_file_cost_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "million.pcap"
    record = pcap_bytes([Record(0, frame())])
    with path.open("wb") as file:
        file.write(record[:24])
        for _ in range(100):
            file.write(record[24:] * 10_000)
    before = resources().resident_bytes
    queue = SendQueue()
    async with await aiopcap.open_offline(path) as capture:
        await queue.extend_from(capture)
    grown = resources().resident_bytes - before
    assert len(queue) == 1_000_000
    assert grown < 120 * 10**6


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE[:1], indirect=True)
async def test_a_few_packets_of_each_batch_do_not_keep_the_others(tmp_path: Path) -> None:
    path = tmp_path / "sparse.pcap"
    record = pcap_bytes([Record(0, frame(size=400))])
    with path.open("wb") as file:
        file.write(record[:24])
        for _ in range(150):
            file.write(record[24:] * 1000)
    before = resources().resident_bytes
    queue = SendQueue()
    async with await aiopcap.open_offline(path) as capture:
        async for batch in capture.batches():
            queue.extend(batch[::5])
    grown = resources().resident_bytes - before
    assert queue.nbytes >= 12_000_000
    # The file has 62 million.
    assert grown < 30_000_000
