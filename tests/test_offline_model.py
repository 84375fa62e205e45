"""A capture of a file used in any order, against a model of what has to come."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiopcap
from tests.reading import SlowFile, checkpoints
from tests.support.frames import frame, udp_frame
from tests.support.pcapfiles import pcap_bytes, records

pytestmark = pytest.mark.anyio

COUNT = 120


def a_frame(number: int) -> bytes:
    """Each is another; every third is a datagram, every seventh is long."""
    payload = number.to_bytes(8, "big")
    size = 300 if number % 7 == 0 else 60
    return udp_frame(payload, size=size) if number % 3 == 0 else frame(payload, size=size)


FRAMES = [a_frame(number) for number in range(COUNT)]
NUMBERS = {data: number for number, data in enumerate(FRAMES)}
CONTENT = pcap_bytes(records(FRAMES))
FILTERS: dict[str | None, set[int]] = {
    None: set(range(COUNT)),
    "udp": set(range(0, COUNT, 3)),
    "not udp": set(range(COUNT)) - set(range(0, COUNT, 3)),
    "greater 300": set(range(0, COUNT, 7)),
    "less 59": set(),
}


class Model:
    """What a capture has delivered, and what it may deliver next."""

    def __init__(self) -> None:
        self.passing = FILTERS[None]
        self.next = 0
        # A read that was cancelled or found the end has looked beyond the last packet it gave.
        self.looked_on = False
        self.unsure = False

    def filter(self, expression: str | None) -> None:
        self.passing = FILTERS[expression]
        self.unsure |= self.looked_on

    def delivered(self, packets: list[aiopcap.Packet]) -> None:
        for packet in packets:
            number = NUMBERS[packet.data]
            expected = [index for index in self.passing if index >= self.next]
            assert number in expected if self.unsure else number == min(expected)
            self.next = number + 1
            self.looked_on = self.unsure = False

    def stopped(self) -> None:
        self.looked_on = True

    def ended(self) -> None:
        if not self.unsure:
            assert not [index for index in self.passing if index >= self.next]
        self.stopped()


async def take(capture: aiopcap.OfflineCapture, model: Model, most: int) -> None:
    """Loop over so many packets."""
    async for packet in capture:
        model.delivered([packet])
        most -= 1
        if most == 0:
            return
    model.ended()


async def take_and_cancel(capture: aiopcap.OfflineCapture, model: Model, turns: int) -> None:
    """Loop over packets until the event loop has turned so often."""
    with CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await checkpoints(turns)
                scope.cancel()

            tasks.start_soon(cancel)
            await take(capture, model, COUNT + 1)
            tasks.cancel_scope.cancel()
    model.stopped()


async def take_batch(capture: aiopcap.OfflineCapture, model: Model, most: int | None) -> None:
    """Take one batch of at most so many packets."""
    batch = await anext(capture.batches(most), None)
    if batch is None:
        model.ended()
        return
    assert 0 < len(batch) <= (most or COUNT)
    model.delivered(list(batch))


async def change(capture: aiopcap.OfflineCapture, model: Model, expression: str | None) -> None:
    """Set a filter."""
    await capture.set_filter(expression)
    model.filter(expression)


async def receive(capture: aiopcap.OfflineCapture, model: Model, _: None) -> None:
    """Wait for one packet."""
    try:
        model.delivered([await capture.receive()])
    except anyio.EndOfStream:
        model.ended()


async def receive_nowait(capture: aiopcap.OfflineCapture, model: Model, _: None) -> None:
    """Take one packet if it is there."""
    try:
        model.delivered([capture.receive_nowait()])
    except anyio.WouldBlock:
        return
    except anyio.EndOfStream:
        model.ended()


STEPS = st.one_of(
    st.tuples(st.sampled_from([receive, receive_nowait]), st.none()),
    st.tuples(st.sampled_from([take, take_batch]), st.integers(1, 20)),
    st.tuples(st.just(take_and_cancel), st.integers(0, 12)),
    st.tuples(st.just(change), st.sampled_from([*FILTERS])),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["memory", "path", "pipe", "file object"]),
    steps=st.lists(STEPS, max_size=40),
)
async def test_any_order_of_calls(
    kind: str, steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "model.pcap"
    path.write_bytes(CONTENT)
    reader, writer = os.pipe()

    def feed() -> None:
        try:
            for start in range(0, len(CONTENT), 1777):
                os.write(writer, CONTENT[start : start + 1777])
        finally:
            os.close(writer)

    thread = threading.Thread(target=feed)
    thread.start()
    sources = {
        "memory": CONTENT,
        "path": path,
        "pipe": reader,
        "file object": SlowFile(CONTENT, at_once=1000),
    }
    try:
        model = Model()
        async with await aiopcap.open_offline(sources[kind]) as capture:
            for step, value in [*steps, (change, None), (take, COUNT + 1), (take_batch, None)]:
                await step(capture, model, value)
    finally:
        thread.join()
        os.close(reader)
