"""A rotation whose files are ended by whoever sends, beside its limits."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import Rotation
from tests.dumping import flat, names, numbers_in, packets, send_all
from tests.support.witnesses import tcpdump_count

pytestmark = pytest.mark.anyio

never = Rotation(max_seconds=math.inf)


@pytest.mark.parametrize("way", ["send", "send_batch"])
@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
async def test_the_next_packet_begins_the_next_file(way: str, suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"trace.{suffix}"
    async with await aiopcap.dump_open(target, linktype=1, rotate=never) as dumper:
        for start, count in ((0, 3), (3, 2000), (2003, 1)):
            await send_all(dumper, packets(count, start=start), way)
            dumper.end_file()
    assert names(tmp_path) == [f"trace-0000{number}.{suffix}" for number in (1, 2, 3)]
    assert [tcpdump_count(path) for path in dumper.files] == [3, 2000, 1]


async def test_a_file_without_a_packet_goes_on(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(tmp_path / "trace.pcap", linktype=1, rotate=never) as dumper:
        dumper.end_file()
        await send_all(dumper, packets(2), "send")
        dumper.end_file()
        dumper.end_file()
        await send_all(dumper, packets(1, start=2), "send")
    assert numbers_in(dumper.files) == [[0, 1], [2]]


@pytest.mark.parametrize("way", ["send", "send_batch"])
async def test_the_limits_count_from_there(way: str, tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=5)
    ) as dumper:
        await send_all(dumper, packets(7), way)
        dumper.end_file()
        await send_all(dumper, packets(11, start=7), way)
    assert [len(numbers) for numbers in numbers_in(dumper.files)] == [5, 2, 5, 5, 1]
    assert flat(numbers_in(dumper.files)) == list(range(18))


async def test_only_an_open_rotation_has_a_next_file(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(tmp_path / "one.pcap", linktype=1) as dumper:
        with pytest.raises(ValueError, match="rotation"):
            dumper.end_file()
    async with await aiopcap.dump_open(tmp_path / "t.pcap", linktype=1, rotate=never) as dumper:
        pass
    with pytest.raises(anyio.ClosedResourceError):
        dumper.end_file()
