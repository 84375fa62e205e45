"""What a dumper refuses before anything is written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

import aiopcap
from aiopcap import LinkType, Packet
from tests.dumping import dumped
from tests.reading import as_records, read_all
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio


REFUSED = {
    "more captured than there was": (Packet(b"12345", wire_length=4), "wire length of 4"),
    "before 1970": (Packet(b"x", timestamp_ns=-1), "1970"),
    "after 2106": (Packet(b"x", timestamp_ns=2**32 * 10**9), "2106"),
    "long after 2106": (Packet(b"x", timestamp_ns=2**63 - 1), "2106"),
    "more than the snaplen": (Packet(bytes(65)), "snaplen of 64"),
    "another link type": (Packet(b"x", linktype=LinkType.RAW), "RAW"),
    "another link type, as a number": (Packet(b"x", linktype=cast("LinkType", 101)), "101"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_packet_that_contradicts_itself_or_the_file(name: str) -> None:
    packet, words = REFUSED[name]
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, linktype=1, snaplen=64) as dumper:
        await dumper.send(Packet(b"before"))
        for _ in range(2):
            with pytest.raises(ValueError, match=words) as caught:
                await dumper.send(packet)
            assert not isinstance(caught.value, aiopcap.PcapError)
        await dumper.send(Packet(b"after"))
    assert [record.data for record in read_pcap(target.getvalue()).records] == [b"before", b"after"]


@pytest.mark.parametrize(
    ("odd", "options", "words"),
    [
        (Record(0, b"0123456789", 5), {}, "packet 2 .*wire length of 5"),
        (Record(0, bytes(200)), {"snaplen": 100}, "snaplen of 100"),
    ],
)
async def test_a_batch_with_one_wrong_packet_is_refused_whole(
    odd: Record, options: dict[str, Any], words: str
) -> None:
    content = pcap_bytes([Record(0, b"a"), Record(1, b"b"), odd, Record(2, b"c")])
    target = io.BytesIO()
    async with await aiopcap.open_offline(content) as capture:
        batch = await capture.receive_batch()
        async with await aiopcap.dump_open(target, linktype=1, **options) as dumper:
            with pytest.raises(ValueError, match=words):
                await dumper.send_batch(batch)
            await dumper.send_batch(batch[3:])
    assert [record.data for record in read_pcap(target.getvalue()).records] == [b"c"]


async def test_a_batch_of_another_link_type_is_refused() -> None:
    async with await aiopcap.open_offline(pcap_bytes(records([b"x"]), linktype=113)) as capture:
        batch = await capture.receive_batch()
    async with await aiopcap.dump_open(io.BytesIO(), linktype=1) as dumper:
        with pytest.raises(ValueError, match="LINUX_SLL"):
            await dumper.send_batch(batch)
        assert dumper.tell() == 24


async def test_the_largest_times_and_lengths_are_written() -> None:
    packet = Packet(b"x", timestamp_ns=2**32 * 10**9 - 1, wire_length=2**32 - 1)
    content = await dumped([packet])
    assert as_records((await read_all(content)).packets) == as_records([packet])


@pytest.mark.parametrize("thing", [b"bytes", None, 5, "text"])
async def test_what_is_no_packet(thing: Any) -> None:
    target = io.BytesIO()
    async with await aiopcap.dump_open(target, linktype=1) as dumper:
        with pytest.raises((TypeError, AttributeError)):
            await dumper.send(thing)
        with pytest.raises((TypeError, AttributeError)):
            await dumper.send_batch(thing)
    assert len(target.getvalue()) == 24


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "pico"}, "precision"),
        ({"precision": None}, "precision"),
        ({"snaplen": 0}, "snaplen"),
        ({"snaplen": -1}, "snaplen"),
        ({"snaplen": 2**31}, "snaplen"),
        ({"linktype": -1}, "LinkType"),
        ({"linktype": "EN10MB"}, "LinkType"),
        ({"linktype": 2**16}, "65536"),
    ],
)
async def test_wrong_options_leave_the_file_alone(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    before = open_descriptors()
    with pytest.raises(ValueError, match=words):
        await aiopcap.dump_open(path, **({"linktype": 1} | options))
    assert path.read_bytes() == b"precious"
    assert open_descriptors() == before
