"""When packets of a send queue go, by the times at which the peer's kernel had them.

Never early: what is due so long after the start arrives no sooner than that after the call. Late
is another matter, as the machine may be busy with something else: those bounds are wide.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

import anyio
import pytest

from aiopcap import LiveCapture, SendQueue, TransmitReport

from .support.frames import numbered
from .support.veth import Veth
from .support_live import PATIENCE, until
from .support_queues import MS, cut, queue_of, sending, spaced

pytestmark = [pytest.mark.anyio, pytest.mark.net]

# How late a packet may be on a busy machine.
LATE = 500 * MS


async def lateness(veth: Veth, queue: SendQueue, due_ns: list[int], **options: Any) -> list[int]:
    """Transmit; returns how many nanoseconds late each packet arrived, after it was due.

    Args:
        veth: The cable.
        queue: What is sent.
        due_ns: When each packet is due, from the start.
        options: For `transmit`.
    """
    async with sending(veth) as (capture, peer):
        begun = time.time_ns()
        report = await queue.transmit(capture, **options)
        took = (time.time_ns() - begun) / 1e9
        assert report.packets == peer.count == len(due_ns)
        arrivals = peer.take(len(due_ns))
    once = [packet.data for packet in queue]
    assert [arrival.data for arrival in arrivals] == once * report.passes
    late = [arrival.time_ns - begun - due for arrival, due in zip(arrivals, due_ns, strict=True)]
    assert min(late) >= 0
    assert max(due_ns) / 1e9 <= report.elapsed <= took
    return late


@pytest.mark.parametrize(
    ("timing", "speed"), [("exact", 1.0), ("gentle", 1.0), ("exact", 2.0), ("gentle", 0.5)]
)
async def test_distances_are_kept_or_scaled(veth: Veth, timing: str, speed: float) -> None:
    # The first time stamp is where the schedule begins, whatever it is.
    begin = 1_700_000_000_000_000_000
    offsets = [0, 50 * MS, 50 * MS + 1, 150 * MS]
    queue = spaced([begin + offset for offset in offsets])
    due = [int(offset / speed) for offset in offsets]
    late = await lateness(veth, queue, due, sync=True, speed=speed, timing=timing)
    assert max(late) < LATE


@pytest.mark.parametrize("timing", ["exact", "gentle"])
async def test_packets_go_evenly(veth: Veth, timing: str) -> None:
    # The time stamps do not matter.
    queue = spaced([7, 5, 3_600_000 * MS, 0, 1, 2])
    late = await lateness(
        veth, queue, [number * 20 * MS for number in range(6)], pps=50, timing=timing
    )
    assert max(late) < LATE


async def test_bits_go_evenly(veth: Veth) -> None:
    frames = [data for size in (60, 1500, 500) for data in numbered(2, size)]
    before = itertools.accumulate((len(data) for data in frames[:-1]), initial=0)
    # 3620 bytes before the last: 72 ms.
    due = [8 * nbytes * 2500 for nbytes in before]
    late = await lateness(veth, queue_of(*frames), due, bits_per_second=400_000)
    assert max(late) < LATE


@pytest.mark.parametrize("options", [{"sync": True}, {"pps": 10_000}], ids=["sync", "even"])
async def test_nothing_adds_up_over_thousands_of_packets(
    veth: Veth, options: dict[str, Any]
) -> None:
    due = [number * 100_000 for number in range(2000)]
    drifts = []
    # Whoever waits from packet to packet adds a few microseconds with each. A busy machine may
    # hold up half of the packets, but hardly three times.
    for _ in range(3):
        late = await lateness(veth, spaced(due), due, **options)
        drifts.append(min(late[1000:]) - min(late[:1000]))
        if drifts[-1] < MS:
            break
    assert min(drifts) < MS


async def test_time_stamps_that_go_backwards_are_sent_at_once(veth: Veth) -> None:
    queue = spaced([when * MS for when in (100, 0, 50, 150, 120, 200)])
    # Those behind them keep to the schedule of the first.
    late = await lateness(veth, queue, [when * MS for when in (0, 0, 0, 50, 50, 100)], sync=True)
    assert max(late) < LATE


async def test_passes_follow_each_other_on_one_schedule(veth: Veth) -> None:
    queue = spaced([when * MS for when in (5, 15, 35, 25)])
    due = [when * MS for base in (0, 30, 60) for when in (base, base + 10, base + 30, base + 30)]
    late = await lateness(veth, queue, due, sync=True, loop=3)
    assert max(late) < LATE
    even = [number * 10 * MS for number in range(8)]
    late = await lateness(veth, queue, even, pps=100, loop=2)
    assert max(late) < LATE


async def test_a_pass_begins_with_the_first_packet_that_is_sent(veth: Veth) -> None:
    hour = 3_600_000 * MS
    queue = queue_of(cut(0), cut(1, hour), *spaced([3 * hour, 3 * hour + MS]))
    async with sending(veth) as (capture, peer):
        with anyio.fail_after(PATIENCE):
            report = await queue.transmit(capture, sync=True, loop=2)
            assert (report.packets, report.truncated, report.passes) == (4, 4, 2)
            # The same with a start: what is before it does not count.
            report = await queue.transmit(capture, sync=True, start=3)
        assert (report.packets, peer.count) == (1, 5)


LEAST, MOST = -(2**63), 2**63 - 1
SYNC: dict[str, Any] = {"sync": True}

# Time stamps, options, and how many packets are due within this century.
EXTREMES: list[tuple[list[int], dict[str, Any], int]] = [
    ([LEAST, MOST], SYNC, 1),
    ([LEAST, MOST], SYNC | {"speed": 0.1}, 1),
    ([LEAST, MOST, 0], SYNC | {"speed": 1e300}, 3),
    ([MOST, LEAST, 0], SYNC, 3),
    ([MOST, LEAST, 0], SYNC | {"speed": 1e-300}, 3),
    ([0, 2**62], SYNC, 1),
    ([0, 2**62 - 1], SYNC | {"speed": 0.999}, 1),
    ([-(2**62), 0, 1], SYNC, 1),
    ([2**62, LEAST, 2**62], SYNC, 3),
    ([LEAST, LEAST + 1, MOST, LEAST], SYNC, 2),
    ([0, 1], SYNC | {"speed": 1e-300}, 1),
    ([0, 1], {"pps": 1e-290}, 1),
    ([0, 1], {"bits_per_second": 1e-290}, 1),
    ([0, 3_600_000_000_000], {"pps": 1e300}, 2),
]


def has_come_to(shown: list[TransmitReport], packets: int) -> bool:
    """Whether a transmit is over, or waits after so many packets."""
    return any(r.passes for r in shown) or sum(r.packets == packets for r in shown) > 1


async def sent_soon(
    capture: LiveCapture, queue: SendQueue, packets: int, options: dict[str, Any]
) -> int:
    """Transmit until it is over, or waits after so many packets; returns how many were sent."""
    shown: list[TransmitReport] = []
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            use = partial(queue.transmit, progress=shown.append, progress_interval=0.01)
            tasks.start_soon(partial(use, capture, **options))
            await until(partial(has_come_to, shown, packets))
            tasks.cancel_scope.cancel()
    assert queue.last_report is not None
    return queue.last_report.packets


async def test_any_time_stamp_and_rate_has_its_place(veth: Veth) -> None:
    """What is not due for centuries is waited for, and everything else is sent."""
    async with sending(veth) as (capture, peer):
        for timestamps_ns, options, soon in EXTREMES:
            before = peer.count
            sent = await sent_soon(capture, spaced(timestamps_ns), soon, options)
            assert sent == soon == peer.count - before, options


@pytest.mark.parametrize(
    "options", [{"pps": 5e-324}, {"bits_per_second": 5e-324}, {"speed": 5e-324, "sync": True}]
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_rate_next_to_nothing_is_refused_or_sends_the_first(
    veth: Veth, options: dict[str, Any]
) -> None:
    async with sending(veth) as (capture, peer):
        try:
            sent = await sent_soon(capture, spaced([0, 1]), 1, options)
        except* ValueError:
            sent = 0
        else:
            assert sent == 1
        assert peer.count == sent
