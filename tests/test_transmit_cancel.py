"""Transmits that are cancelled: soon, with an exact count, and the rest can be sent later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import anyio
import pytest

import aiopcap
from aiopcap import SendQueue, TransmitReport

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import ASYNCIO_ALONE, PATIENCE, until
from .support_queues import MS, Witness, cut, queue_of, sending, spaced, watched

pytestmark = [pytest.mark.anyio, pytest.mark.net]

# Seconds. It is to take 50 ms at most; here, as much as a busy machine may keep a thread waiting.
SOON = 0.5

HOUR = 3_600_000 * MS


class Way(NamedTuple):
    """A transmit that does not end by itself.

    Attributes:
        queue: What is sent.
        options: How.
        enough: After how many packets it is cancelled.
    """

    queue: SendQueue
    options: dict[str, Any]
    enough: int


WAYS: dict[str, Callable[[], Way]] = {
    "in a gap": lambda: Way(spaced([0, MS, HOUR, HOUR]), {"sync": True}, 2),
    "in a short gap": lambda: Way(spaced([0, 10 * MS] * 5), {"sync": True, "loop": None}, 5),
    "even": lambda: Way(queue_of(*numbered(7)), {"pps": 2000, "loop": None}, 40),
    "gentle": lambda: Way(
        queue_of(*numbered(7)), {"bits_per_second": 1e6, "timing": "gentle", "loop": None}, 40
    ),
    "slow": lambda: Way(queue_of(*numbered(7)), {"pps": 3}, 1),
    "at top speed": lambda: Way(queue_of(*numbered(1000)), {"loop": None}, 3000),
}


async def check(way: Way, capture: aiopcap.LiveCapture, peer: Witness) -> None:
    """The report has to be exact, and `next_index` where the rest of the pass begins."""
    report = way.queue.last_report
    assert report is not None
    assert report.packets == peer.count >= way.enough
    assert report.nbytes == 60 * report.packets
    frames = [packet.data for packet in way.queue]
    assert report.packets == report.passes * len(frames) + report.next_index
    rest = frames[report.next_index :]
    with watched(peer.veth) as later, anyio.fail_after(PATIENCE):
        again = await way.queue.transmit(capture, start=report.next_index)
        assert again.packets == later.count == len(rest)
        assert later.datas(len(rest)) == rest


@pytest.mark.parametrize("name", WAYS)
async def test_a_cancelled_transmit_stops_soon_and_exactly(veth: Veth, name: str) -> None:
    way = WAYS[name]()
    async with sending(veth) as (capture, peer):
        async with anyio.create_task_group() as tasks:

            async def transmit() -> None:
                await way.queue.transmit(capture, **way.options)

            tasks.start_soon(transmit)
            await until(lambda: peer.count >= way.enough)
            begun = time.monotonic()
            tasks.cancel_scope.cancel()
        assert time.monotonic() - begun < SOON
        await check(way, capture, peer)


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE, indirect=True)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_task_of_asyncio_does_too(veth: Veth, times: int) -> None:
    async with await aiopcap.open_live(veth.near) as capture:
        for make in WAYS.values():
            way = make()
            with watched(veth) as peer:
                task = asyncio.create_task(way.queue.transmit(capture, **way.options))
                await until(lambda: peer.count >= way.enough)  # noqa: B023
                begun = time.monotonic()
                for _ in range(times):
                    task.cancel()
                    await asyncio.sleep(0)
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - begun < SOON
                await check(way, capture, peer)


async def test_deadlines_are_kept(veth: Veth) -> None:
    async with await aiopcap.open_live(veth.near) as capture:
        for name in ("in a gap", "even", "at top speed"):
            way = WAYS[name]()._replace(enough=0)
            with watched(veth) as peer:
                begun = time.monotonic()
                with pytest.raises(TimeoutError), anyio.fail_after(0.03):
                    await way.queue.transmit(capture, **way.options)
                assert 0.02 < time.monotonic() - begun < 0.03 + SOON
                await check(way, capture, peer)


async def test_who_is_cancelled_before_sends_nothing(veth: Veth) -> None:
    async with sending(veth) as (capture, peer):
        for name, make in WAYS.items():
            way = make()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await way.queue.transmit(capture, **way.options)
            assert scope.cancelled_caught, name
            assert way.queue.last_report == TransmitReport()
        assert peer.count == 0


async def test_an_endless_loop_of_packets_that_are_left_out_ends(veth: Veth) -> None:
    queue = queue_of(*(cut(number) for number in range(300)))
    async with sending(veth) as (capture, peer):
        ways: list[dict[str, Any]] = [{}, {"sync": True}, {"pps": 5.0}]
        for options in ways:
            # No deadline would help where the event loop has no turn; the suite's own does.
            report = await queue.transmit(capture, loop=None, **options)
            assert (report.packets, report.truncated) == (0, 300)
        assert peer.count == 0


@pytest.mark.parametrize(
    "options", [{}, {"pps": 20_000}, {"sync": True}], ids=["at top speed", "even", "sync"]
)
async def test_another_task_keeps_running(veth: Veth, options: dict[str, Any]) -> None:
    queue = spaced([number * 100_000 for number in range(1000)])
    async with sending(veth) as (capture, peer):
        begun = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(queue.transmit, capture, loop=None, **options))
            await until(lambda: peer.count > 0)
            for _ in range(15):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        # A moment on an idle machine. An event loop that is held up gets nowhere.
        assert time.monotonic() - begun < 3
        assert queue.last_report is not None
        assert queue.last_report.packets == peer.count


def is_growing(reports: list[TransmitReport]) -> bool:
    """Whether each report is the one before it, or more."""
    marks = [(report.packets, report.nbytes, report.passes) for report in reports]
    return marks == sorted(marks) and all(r.nbytes == 60 * r.packets for r in reports)


@pytest.mark.parametrize(
    "options",
    [{}, {"pps": 5000}, {"sync": True}],
    ids=["at top speed", "even", "sync"],
)
async def test_progress_is_shown(veth: Veth, options: dict[str, Any]) -> None:
    queue = spaced([number * MS for number in range(100)])
    shown: list[TransmitReport] = []
    async with sending(veth) as (capture, peer):
        with anyio.CancelScope() as scope, anyio.fail_after(PATIENCE):

            def show(report: TransmitReport) -> None:
                shown.append(report)
                if len(shown) == 5:
                    scope.cancel()

            await queue.transmit(
                capture, loop=None, progress=show, progress_interval=0.01, **options
            )
        assert scope.cancelled_caught
        assert is_growing(shown)
        assert shown[4].packets > shown[0].packets
        # And once at the end, however that comes.
        assert len(shown) > 5
        assert shown[-1] == queue.last_report
        assert shown[-1].packets == peer.count


async def test_a_short_transmit_shows_its_end(veth: Veth) -> None:
    shown: list[TransmitReport] = []
    async with sending(veth) as (capture, _):
        report = await queue_of(frame()).transmit(capture, progress=shown.append)
    assert shown[-1] == report
    assert report.packets == 1


async def test_progress_may_be_asked_for_all_the_time(veth: Veth) -> None:
    shown: list[TransmitReport] = []
    queue = spaced([0, 60 * MS, 90 * MS])
    async with sending(veth) as (capture, peer):
        report = await queue.transmit(
            capture, sync=True, progress=shown.append, progress_interval=0
        )
        assert report.packets == peer.count == 3
    assert {1, 2, 3} <= {report.packets for report in shown}
    assert is_growing(shown)


@pytest.mark.parametrize("name", ["in a gap", "even", "at top speed"])
async def test_an_exception_of_the_callback_stops_it(veth: Veth, name: str) -> None:
    way = WAYS[name]()
    calls = 0

    def fail(report: TransmitReport) -> None:
        nonlocal calls
        if report.packets >= way.enough:
            calls += 1
            raise LookupError(report.packets)

    use = partial(way.queue.transmit, progress=fail, progress_interval=0.005)
    async with sending(veth) as (capture, peer):
        with pytest.raises(LookupError), anyio.fail_after(PATIENCE):
            await use(capture, **way.options)
        # Who has failed is not called once more at the end.
        assert calls == 1
        await check(way, capture, peer)
