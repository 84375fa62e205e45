"""Files sent while they are read: what arrives, how often, and when."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import FilterError, replay

from .support import pcapngfiles as ng
from .support.frames import frame, numbered, udp_frame
from .support.pcapfiles import Record, pcap_bytes, records
from .support.veth import Veth
from .support_live import PATIENCE
from .support_queues import MS, sending

pytestmark = [pytest.mark.anyio, pytest.mark.net]

FRAMES = [
    udp_frame(number.to_bytes(8, "big")) if number % 3 == 0 else data
    for number, data in enumerate(numbered(10))
]
FILE = pcap_bytes(records(FRAMES))


def cut_file() -> bytes:
    """Ten packets, of which a snaplen has cut the first five."""
    datas = enumerate(numbered(10))
    return pcap_bytes([Record(n, data, 100 if n < 5 else 60) for n, data in datas])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    path.write_bytes(FILE)
    return path


async def test_a_file_is_sent_as_it_is_whatever_it_comes_from(veth: Veth, path: Path) -> None:
    async with sending(veth) as (capture, peer):
        with path.open("rb") as first, path.open("rb") as second:
            for source in (path, str(path), FILE, io.BytesIO(FILE), first, second.fileno()):
                report = await replay(source, capture)
                assert (report.packets, report.nbytes, report.passes) == (10, 600, 1)
                assert report.queue_nbytes == 760
                assert peer.datas(10) == FRAMES
        assert peer.count == 60


async def test_a_file_of_many_batches_is_sent_in_order(veth: Veth, tmp_path: Path) -> None:
    frames = numbered(20_000)
    path = tmp_path / "many.pcap"
    path.write_bytes(pcap_bytes(records(frames)))
    async with sending(veth) as (capture, peer):
        report = await replay(path, capture)
        assert (report.packets, report.passes, report.next_index) == (20_000, 1, 0)
        assert peer.count == 20_000
        assert peer.datas(20_000) == frames


async def test_a_filter_chooses(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        for expression in ("udp", aiopcap.compile("udp")):
            report = await replay(FILE, capture, filter=expression)
            assert report.packets == 4
            assert peer.datas(4) == FRAMES[::3]
        report = await replay(FILE, capture, filter="udp", loop=2, limit=6)
        assert (report.packets, report.passes, report.next_index) == (6, 1, 2)
        assert peer.datas(6) == [*FRAMES[::3], *FRAMES[:6:3]]
        with pytest.raises(FilterError):
            await replay(FILE, capture, filter="no such thing")
        assert peer.count == 14


async def test_a_file_is_repeated(veth: Veth, path: Path) -> None:
    async with sending(veth) as (capture, peer):
        for source in (path, str(path), FILE):
            report = await replay(source, capture, loop=3)
            assert (report.packets, report.passes, report.next_index) == (30, 3, 0)
            assert peer.datas(30) == FRAMES * 3
        assert peer.count == 90


async def test_a_stream_cannot_be_repeated_and_sends_nothing(veth: Veth, path: Path) -> None:
    async with sending(veth) as (capture, peer):
        with path.open("rb") as file:
            for source in (io.BytesIO(FILE), file, file.fileno(), "-"):
                for loop in (2, None):
                    with pytest.raises(ValueError, match="loop"):
                        await replay(source, capture, loop=loop)
        assert peer.count == 0


async def test_a_limit_in_the_middle_of_a_pass_is_in_the_report(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        total = 0
        for limit, passes, following in [(3, 0, 3), (10, 1, 0), (15, 1, 5), (20, 2, 0), (21, 2, 1)]:
            report = await replay(FILE, capture, limit=limit, loop=None)
            assert (report.packets, report.passes, report.next_index) == (limit, passes, following)
            assert peer.datas(limit) == (FRAMES * 3)[:limit]
            total += limit
        assert (await replay(FILE, capture, limit=100, loop=2)).packets == 20
        assert peer.count == total + 20


async def test_a_limit_counts_what_is_sent(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        report = await replay(cut_file(), capture, limit=3)
        assert (report.packets, report.truncated) == (3, 5)
        assert peer.datas(3) == numbered(3, start=5)
        report = await replay(cut_file(), capture, limit=3, send_truncated=True)
        assert (report.packets, report.truncated) == (3, 0)
        assert peer.datas(3) == numbered(3)
        report = await replay(cut_file(), capture)
        assert (report.packets, report.truncated, peer.count) == (5, 5, 11)


async def test_a_file_without_packets_ends(veth: Veth) -> None:
    empty, cut = pcap_bytes([]), cut_file()
    sources: list[tuple[bytes, dict[str, Any]]] = [
        (empty, {}),
        (empty, {"sync": True}),
        (FILE, {"filter": "tcp"}),
        (cut, {"filter": "greater 100", "pps": 1.0}),
        (pcap_bytes([Record(0, frame(), 100)]), {}),
    ]
    async with sending(veth) as (capture, peer):
        for content, options in sources:
            for loop in (1, 2, None):
                with anyio.fail_after(PATIENCE):
                    assert (await replay(content, capture, loop=loop, **options)).packets == 0
        assert peer.count == 0


async def test_time_stamps_are_kept_through_all_passes(veth: Veth) -> None:
    offsets = [0, 20 * MS, 50 * MS]
    begin = 1_700_000_000_000_000_000
    content = pcap_bytes(
        [Record(begin + n, data) for n, data in zip(offsets, numbered(3), strict=True)]
    )
    due = [0, 20, 50, 50, 70, 100]
    async with sending(veth) as (capture, peer):
        for options, faster in [({"loop": 2}, 1.0), ({"loop": 2, "speed": 2.0}, 2.0)]:
            begun = time.time_ns()
            report = await replay(content, capture, sync=True, **options)  # type: ignore[arg-type]
            arrivals = peer.take(6)
            late = [a.time_ns - begun - d * MS / faster for a, d in zip(arrivals, due, strict=True)]
            # Never early; late, as a busy machine may be.
            assert min(late) >= 0
            assert max(late) < 500 * MS
            assert report.elapsed >= 0.1 / faster


async def test_the_schedule_goes_on_from_batch_to_batch(veth: Veth) -> None:
    datas = numbered(20_000)
    async with await aiopcap.open_offline(pcap_bytes(records(datas))) as file:
        first = len(await file.receive_batch())
    assert first < len(datas)
    # Nothing tells a batch from the next but this gap.
    times = [0 if number < first else 80 * MS for number in range(len(datas))]
    content = pcap_bytes([Record(when, data) for when, data in zip(times, datas, strict=True)])
    async with sending(veth) as (capture, peer):
        begun = time.time_ns()
        report = await replay(content, capture, sync=True, limit=first + 1)
        assert report.packets == peer.count == first + 1
        assert peer.take(first + 1)[-1].time_ns - begun >= 80 * MS


async def test_an_even_pace_goes_on_through_all_passes(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        begun = time.time_ns()
        await replay(FILE, capture, pps=200, loop=2)
        late = [a.time_ns - begun - n * 5 * MS for n, a in enumerate(peer.take(20))]
    assert min(late) >= 0
    assert max(late) < 500 * MS


async def test_pcapng_files_are_sent_too(veth: Veth, tmp_path: Path) -> None:
    frames = numbered(600)
    head = ng.section() + ng.interface(name="eth0") + ng.interface(name="eth1", snaplen=96)
    body = [ng.enhanced_packet(d, n, interface_id=n % 2) for n, d in enumerate(frames)]
    path = tmp_path / "some.pcapng"
    path.write_bytes(head + b"".join(body))
    async with sending(veth) as (capture, peer):
        report = await replay(path, capture, loop=2)
        assert report.packets == peer.count == 1200
        assert peer.datas(1200) == frames * 2
