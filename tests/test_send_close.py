"""A capture that is closed while somebody sends on it: at once, and with nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import open_live

from .support.frames import numbered
from .support.pcapfiles import pcap_bytes, records
from .support.resources import open_descriptors
from .support.veth import Veth
from .support_live import PATIENCE, until
from .support_send import Gate, fill, listening, queue_of, until_sending

pytestmark = pytest.mark.anyio

# Less than any of the waits that are cut short, and more than a busy machine takes.
AT_ONCE = 1.0

FOREVER = 100.0  # seconds


def _threads() -> list[str]:
    """The threads that are ours; event loops keep theirs."""
    return [thread.name for thread in threading.enumerate() if "aiopcap" in thread.name]


class Closing:
    """Starts a sender, closes the capture once it sends, and looks at what is left."""

    def __init__(self, veth: Veth) -> None:
        self.veth = veth
        self.descriptors = open_descriptors()
        self.closed_at = self.noticed_at = 0.0

    async def _send(self, sending: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await sending()
        self.noticed_at = time.perf_counter()

    async def _read(self, capture: aiopcap.LiveCapture) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            async for _ in capture:
                pass

    async def run(
        self,
        capture: aiopcap.LiveCapture,
        sending: Callable[[], Awaitable[object]],
        is_sending: Callable[[], bool] | None = None,
        *,
        reads: bool = True,
    ) -> None:
        """Close a capture.

        Args:
            capture: The capture.
            sending: What the sender awaits.
            is_sending: Whether to close now; as soon as it has begun, if not given.
            reads: Whether another task reads meanwhile.
        """
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                if reads:
                    tasks.start_soon(self._read, capture)
                tasks.start_soon(self._send, sending)
                if is_sending is None:
                    await until_sending(capture)
                else:
                    await until(is_sending)
                assert self.noticed_at == 0
                self.closed_at = time.perf_counter()
                await capture.aclose()
            assert self.noticed_at - self.closed_at < AT_ONCE
            await until(lambda: not _threads())
        assert open_descriptors() == self.descriptors
        with pytest.raises(anyio.ClosedResourceError):
            await capture.send(b"")


@pytest.mark.parametrize("limit", [4000, 10_000_000], ids=["queue", "buffer"])
async def test_while_a_sender_waits_for_room(veth: Veth, limit: int) -> None:
    gate, more = Gate(veth), numbered(3, start=20_000)
    ways: list[Callable[[aiopcap.LiveCapture], Any]] = [
        lambda capture: capture.send(more[0]),
        lambda capture: capture.send_batch(more),
        lambda capture: queue_of(more).transmit(capture),
    ]
    for way in ways:
        closing = Closing(veth)
        capture = await open_live(veth.near)
        gate.shut(limit)
        before = veth.counters().rx_packets
        sent = fill(capture, 60 if limit == 4000 else 1514)
        await closing.run(capture, lambda: way(capture))  # noqa: B023 - called at once
        # What the device had taken goes its way, and nothing else.
        gate.open()
        await until(lambda: veth.counters().rx_packets > before + len(sent))  # noqa: B023
        assert veth.counters().rx_packets == before + len(sent) + 1  # and the gate's own


@pytest.mark.parametrize("timing", ["exact", "gentle"])
async def test_while_a_packet_is_far_away(veth: Veth, timing: str) -> None:
    frames = numbered(4)
    queue = queue_of(frames, [0, FOREVER])
    closing = Closing(veth)
    capture = await open_live(veth.near)
    before = veth.counters().rx_packets
    await closing.run(
        capture,
        lambda: queue.transmit(capture, sync=True, timing=timing),
        lambda: veth.counters().rx_packets == before + 2,
    )
    report = queue.last_report
    assert report is not None
    assert (report.packets, report.nbytes, report.next_index, report.passes) == (2, 120, 2, 0)
    # The rest can be sent on another one.
    async with await open_live(veth.near) as other:
        with listening(veth) as far:
            await queue.transmit(other, sync=True, speed=1e6, start=report.next_index)
            assert await far.everything() == frames[2:]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pps": 2000},
        {"bits_per_second": 480 * 200_000},
        {"sync": True, "timing": "gentle"},
    ],
    ids=["top speed", "paced", "paced by bits", "gently by time stamps"],
)
async def test_while_packets_go_out_round_and_round(veth: Veth, options: dict[str, Any]) -> None:
    queue = queue_of(numbered(300), [0.0005] * 300)
    closing = Closing(veth)
    capture = await open_live(veth.near)
    before, lost = veth.counters().rx_packets, veth.counters("near").tx_dropped
    await closing.run(
        capture,
        lambda: queue.transmit(capture, loop=None, **options),
        lambda: veth.counters().rx_packets > before + 50,
    )
    report = queue.last_report
    assert report is not None
    assert report.packets == 300 * report.passes + report.next_index
    assert report.nbytes == 60 * report.packets
    # A far end that is too busy to take it all is not the sender's fault.
    lost = veth.counters("near").tx_dropped - lost
    assert report.packets == veth.counters().rx_packets - before + lost


@pytest.mark.parametrize("limit", [4000, 10_000_000, None], ids=["queue", "buffer", "gap"])
async def test_closed_at_whatever_step(veth: Veth, limit: int | None) -> None:
    frames = numbered(400, 1514)
    if limit is not None:
        Gate(veth).shut(limit)
    for steps in range(5):
        queue = queue_of(frames, [0] * 99 + [FOREVER])

        async def send() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await queue.transmit(capture, sync=limit is None)  # noqa: B023 - called at once

        capture = await open_live(veth.near)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                for _ in range(steps):
                    await checkpoint()
                await capture.aclose()
                closed_at = time.perf_counter()
            assert time.perf_counter() - closed_at < AT_ONCE


async def test_while_a_batch_is_sent(veth: Veth) -> None:
    frames = numbered(1000) * 300
    closing = Closing(veth)
    capture = await open_live(veth.near)
    before = veth.counters().rx_packets
    await closing.run(
        capture,
        lambda: capture.send_batch(frames),
        lambda: veth.counters().rx_packets > before + 1500,
        reads=False,
    )
    assert veth.counters().rx_packets - before < len(frames)


async def test_while_a_file_is_replayed(veth: Veth) -> None:
    source = pcap_bytes(records(numbered(100), step_ns=1_000_000))
    closing = Closing(veth)
    capture = await open_live(veth.near)
    before = veth.counters().rx_packets
    await closing.run(
        capture,
        lambda: aiopcap.replay(source, capture, sync=True, loop=None),
        lambda: veth.counters().rx_packets > before + 10,
    )


async def test_while_one_sends_frame_by_frame(veth: Veth) -> None:
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            await capture.send(numbered(1)[0])
            sent += 1

    closing = Closing(veth)
    capture = await open_live(veth.near)
    before = veth.counters().rx_packets
    await closing.run(capture, send, lambda: sent > 200)
    assert veth.counters().rx_packets - before == sent


async def test_a_capture_that_is_left_while_it_sends_is_closed_as_well(veth: Veth) -> None:
    queue = queue_of(numbered(10), [0, FOREVER])
    before, counted = open_descriptors(), veth.counters().rx_packets
    with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
        async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: queue.transmit(capture, sync=True))
            await until(lambda: veth.counters().rx_packets == counted + 2)
            scope.cancel()
    assert queue.last_report is not None
    assert queue.last_report.packets == 2
    assert open_descriptors() == before
