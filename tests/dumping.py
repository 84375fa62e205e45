"""Packets to write and what was written of them, for tests of dumpers."""

from __future__ import annotations

import aiopcap
from aiopcap import Packet
from tests.support.frames import number_of, numbered
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import pcap_bytes, records

# In bytes: what a file begins with, and a record of one of the packets below.
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
