"""How sending a file ends when it does not end well; and what it never does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import PcapWarning, SendError, TransmitReport, replay

from .support.frames import numbered, udp_frame
from .support.pcapfiles import Record, pcap_bytes, records
from .support.veth import Veth
from .support_live import ASYNCIO_ALONE, until
from .support_queues import MS, sending

pytestmark = [pytest.mark.anyio, pytest.mark.net]

FRAMES = numbered(10)
FILE = pcap_bytes(records(FRAMES))
HOUR = 3_600_000 * MS


async def test_what_comes_before_the_damage_is_sent(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        for loop in (1, None):
            with pytest.raises(aiopcap.TruncatedSavefileError):
                await replay(FILE[:-1], capture, loop=loop)
            assert peer.datas(9) == FRAMES[:9]
        with pytest.raises(aiopcap.SavefileError):
            await replay(b"no savefile at all, but long enough", capture)
        with pytest.raises(FileNotFoundError):
            await replay("/no/such/file", capture)
        assert peer.count == 18
        # The capture is as good as before.
        assert (await replay(FILE, capture)).packets == 10


async def test_another_link_type_warns_of_both_once(veth: Veth) -> None:
    content = pcap_bytes(records(FRAMES), linktype=101)
    async with sending(veth) as (capture, peer):
        with pytest.warns(PcapWarning, match=r"RAW.*EN10MB") as caught:
            await replay(content, capture, loop=2)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert peer.count == 20
        with pytest.raises(PcapWarning):  # as warnings are errors here
            await replay(content, capture)
        assert peer.count == 20


async def test_an_error_counts_what_passes_the_filter(veth: Veth) -> None:
    frames = [*numbered(4), udp_frame(size=1515), *numbered(2)]
    frames[1] = udp_frame()
    content = pcap_bytes(records(frames))
    async with sending(veth) as (capture, peer):
        with pytest.raises(SendError, match="1515") as caught:
            await replay(content, capture, filter="udp")
        assert (caught.value.index, caught.value.packets, peer.count) == (1, 1, 1)
        with pytest.raises(SendError) as caught:
            await replay(content, capture)
        assert (caught.value.index, caught.value.packets, peer.count) == (4, 4, 5)


async def test_options_that_make_no_sense_are_refused(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        wrong: list[dict[str, Any]] = [
            {"loop": 0},
            {"limit": 0},
            {"limit": -1},
            {"pps": 0},
            {"speed": 2.0},
            {"sync": True, "pps": 1},
            {"timing": ""},
            {"progress": print, "progress_interval": -1},
        ]
        for options in wrong:
            with pytest.raises(ValueError, match="|".join(options)):
                await replay(FILE, capture, **options)
        async with await aiopcap.open_offline(FILE) as offline:
            with pytest.raises(TypeError):
                await replay(FILE, offline)  # type: ignore[arg-type]
        assert peer.count == 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, Callable[[bytes], object]]]:
    """A pipe's end to read from, and what writes to the other."""
    reader, writer = os.pipe()
    try:
        yield reader, partial(os.write, writer)
    finally:
        os.close(reader)
        os.close(writer)


async def test_it_sends_while_the_file_still_comes(
    veth: Veth, pipe: tuple[int, Callable[[bytes], object]]
) -> None:
    reader, write = pipe
    shown: list[TransmitReport] = []
    async with sending(veth) as (capture, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(replay, reader, capture, progress=shown.append))
            write(FILE[: 24 + 3 * 76 + 20])
            await until(lambda: peer.count == 3)
            write(FILE[24 + 3 * 76 + 20 : 24 + 5 * 76])
            await until(lambda: peer.count == 5)
            begun = time.monotonic()
            tasks.cancel_scope.cancel()
        # It is to take 50 ms at most; a busy machine may add to that.
        assert time.monotonic() - begun < 0.5
        assert shown[-1].packets == shown[-1].next_index == peer.count == 5
        assert shown[-1].passes == 0
        assert peer.datas(5) == FRAMES[:5]


@pytest.mark.parametrize(
    "options", [{"loop": None}, {"loop": None, "pps": 500}, {"sync": True}], ids=str
)
async def test_it_can_be_cancelled(veth: Veth, options: dict[str, Any]) -> None:
    hours = [Record(n * HOUR // 2, data) for n, data in enumerate(numbered(3))]
    hours[1] = hours[1]._replace(timestamp_ns=MS)
    content = pcap_bytes(hours)
    shown: list[TransmitReport] = []
    async with sending(veth) as (capture, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(replay, content, capture, progress=shown.append, **options))
            await until(lambda: peer.count >= 2)
            begun = time.monotonic()
            tasks.cancel_scope.cancel()
        assert time.monotonic() - begun < 0.5
        report = shown[-1]
        assert report.packets == peer.count == 3 * report.passes + report.next_index
        # The capture is free again.
        assert (await replay(FILE, capture)).packets == 10


def peak_bytes() -> int:
    """The most resident memory since `/proc/self/clear_refs` was told to begin anew."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) * 1024


@pytest.mark.memory
@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE[:1], indirect=True)
async def test_a_large_file_is_never_in_memory(veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / "large.pcap"
    (data,) = numbered(1, 1500)
    content = pcap_bytes([Record(0, data)])
    with path.open("wb") as file:
        file.write(content[:24])
        for _ in range(40):
            file.write(content[24:] * 1000)
    assert path.stat().st_size > 60_000_000
    async with await aiopcap.open_live(veth.near) as capture:
        await replay(FILE, capture)
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_bytes()
        report = await replay(path, capture)
        grown = peak_bytes() - before
    assert report.packets == 40_000
    # A few batches and the thread that reads them.
    assert grown < 30_000_000
