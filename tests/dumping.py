"""Packets to write and what was written of them, for tests of dumpers."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiopcap
from aiopcap import LinkType, Packet
from tests.support.frames import frame, number_of, numbered
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records

# In bytes: what a file begins with, and a record of one of the packets below.
HEADER = 24
RECORD = 16 + 60

TIMES_NS = (0, 1_700_000_000_123_456_789, 2**31 * 10**9 + 1, (2**32 - 1) * 10**9 + 999_999_999)

# Packets at the edges of what a file's time stamps can say.
PACKETS = [
    Packet(frame(bytes([number]), size=60 + number), timestamp_ns=time_ns, wire_length=9000)
    for number, time_ns in enumerate(TIMES_NS)
]


def packets(count: int, start: int = 0) -> list[Packet]:
    return [Packet(data) for data in numbered(count, start=start)]


async def batch_of(count: int) -> aiopcap.PacketBatch:
    async with await aiopcap.open_offline(pcap_bytes(records(numbered(count)))) as capture:
        return await capture.receive_batch()


async def dumped(packets: list[Packet], **options: Any) -> bytes:
    """What a dumper makes of packets."""
    target = io.BytesIO()
    options = {"linktype": LinkType.EN10MB} | options
    async with await aiopcap.dump_open(target, **options) as dumper:
        for packet in packets:
            await dumper.send(packet)
    return target.getvalue()


def written(content: bytes) -> list[int]:
    """The numbers of the packets in a file, which must end on a record's boundary."""
    found = read_pcap(content)
    assert found.complete
    return [number_of(record.data) for record in found.records]


async def send_all(dumper: aiopcap.Dumper, items: list[Packet], way: str = "send") -> None:
    if way == "send":
        for packet in items:
            await dumper.send(packet)
    else:
        await dumper.send_batch(await as_batch(items))


async def as_batch(items: Sequence[Packet]) -> aiopcap.PacketBatch:
    content = pcap_bytes([Record(packet.timestamp_ns, packet.data) for packet in items])
    async with await aiopcap.open_offline(content) as capture:
        return await capture.receive_batch()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def numbers_in(files: Sequence[Path]) -> list[list[int]]:
    return [written(path.read_bytes()) for path in files]


def flat(found: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(found))
