"""Transmits with long gaps, in trio's virtual time: hours in a moment, frames on a real cable."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

import aiopcap
from aiopcap import TransmitReport

from .support.frames import numbered
from .support.pcapfiles import Record, pcap_bytes
from .support.veth import Veth
from .support_queues import MS, Witness, spaced, watched

pytestmark = pytest.mark.net

HOUR = 3_600_000 * MS

# Seconds: of real time, and by how much less exact a busy machine is.
MOMENT = 5
LATE = 0.5

# Real seconds in which nothing happens until the clock jumps, where there are deadlines: it must
# not jump to them while a thread is sending.
THRESHOLD = 0.2

T = TypeVar("T")


def run(
    veth: Veth,
    act: Callable[[aiopcap.LiveCapture, Witness], Awaitable[T]],
    clock: MockClock | None = None,
) -> T:
    """Run with a virtual clock and an open capture; it has to take a moment."""

    async def main() -> T:
        with watched(veth) as peer:
            async with await aiopcap.open_live(veth.near) as capture:
                return await act(capture, peer)

    begun = time.monotonic()
    result = trio.run(main, clock=clock or MockClock(autojump_threshold=0))
    assert time.monotonic() - begun < MOMENT
    return result


def test_hours_pass_in_a_moment(veth: Veth) -> None:
    queue = spaced([0, HOUR, HOUR + 1, 3 * HOUR, 3 * HOUR - 1, 10 * HOUR])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> TransmitReport:
        begun = trio.current_time()
        report = await queue.transmit(capture, sync=True)
        assert 36_000 - LATE <= trio.current_time() - begun <= 36_000 + MOMENT
        assert peer.count == 6
        assert peer.datas(6) == numbered(6)
        return report

    report = run(veth, act)
    assert (report.packets, report.passes) == (6, 1)
    assert 36_000 <= report.elapsed < 36_000 + LATE


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"sync": True, "speed": 0.01, "loop": 2}, 400),
        ({"pps": 0.01}, 200),
        ({"bits_per_second": 4.8, "timing": "gentle"}, 200),
        ({"sync": True, "start": 1, "loop": 2}, 3),
    ],
)
def test_every_pace_follows_the_clock(
    veth: Veth, options: dict[str, float], seconds: float
) -> None:
    queue = spaced([0, 1000 * MS, 2000 * MS])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> TransmitReport:
        report = await queue.transmit(capture, **options)  # type: ignore[arg-type]
        assert peer.count == report.packets
        start = int(options.get("start", 0))
        assert peer.datas(report.packets) == (numbered(3) * 2)[start : start + report.packets]
        return report

    report = run(veth, act)
    assert seconds <= report.elapsed < seconds + LATE


def test_a_file_is_replayed_in_a_moment(veth: Veth) -> None:
    content = pcap_bytes([Record(n * HOUR, data) for n, data in enumerate(numbered(3))])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> TransmitReport:
        report = await aiopcap.replay(content, capture, sync=True, loop=2)
        assert peer.datas(6) == numbered(3) * 2
        return report

    report = run(veth, act)
    assert 4 * 3600 <= report.elapsed < 4 * 3600 + LATE


def test_centuries_pass_too(veth: Veth) -> None:
    queue = spaced([0, 2**62, 2**63 - 1])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> None:
        await queue.transmit(capture, sync=True)
        assert peer.datas(3) == numbered(3)

    run(veth, act)


def test_a_clock_that_runs_fast_is_followed(veth: Veth) -> None:
    queue = spaced([0, 5_000 * MS, 10_000 * MS])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> TransmitReport:
        report = await queue.transmit(capture, sync=True)
        assert peer.datas(3) == numbered(3)
        return report

    report = run(veth, act, MockClock(rate=100))
    assert 10 <= report.elapsed < 10 + 100 * LATE


def test_a_deadline_in_a_gap_stops_it(veth: Veth) -> None:
    queue = spaced([0, HOUR, 2 * HOUR, 3 * HOUR])

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> None:
        with trio.move_on_after(1.5 * 3600) as scope:
            await queue.transmit(capture, sync=True)
        assert scope.cancelled_caught
        report = queue.last_report
        assert report is not None
        assert (report.packets, report.next_index, peer.count) == (2, 2, 2)
        rest = await queue.transmit(capture, sync=True, start=report.next_index)
        assert (rest.packets, peer.datas(4)) == (2, numbered(4))

    run(veth, act, MockClock(autojump_threshold=THRESHOLD))


def test_progress_is_shown_in_gaps(veth: Veth) -> None:
    queue = spaced([0, HOUR, 2 * HOUR])
    shown: list[TransmitReport] = []

    async def act(capture: aiopcap.LiveCapture, peer: Witness) -> TransmitReport:
        use = queue.transmit(capture, sync=True, progress=shown.append, progress_interval=600)
        report = await use
        assert peer.count == 3
        return report

    assert run(veth, act) == shown[-1]
    # Six times an hour, where the clock does not jump to a packet's time right away.
    assert len(shown) >= 10
    assert [report.packets for report in shown] == sorted(report.packets for report in shown)
    assert {1, 2, 3} <= {report.packets for report in shown}
