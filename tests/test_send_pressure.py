"""A device that takes no more: senders wait, which costs nothing; nothing is lost or repeated."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import open_live

from .support.frames import numbered
from .support.veth import Veth
from .support_live import PATIENCE, numbers, until
from .support_send import METHODS, Gate, fill, listening, queue_of, until_sending

pytestmark = pytest.mark.anyio

# Bytes that wait in the device's queue: about sixty small frames, far less than a socket's buffer
# holds. Without a limit it is the buffer that is full first.
SMALL = 4000

WAITING = ("send", "send_batch", "transmit")

# What a shut device lets nobody send: of a full buffer the descriptor tells, of a full queue
# nothing does.
FULL: dict[str, dict[str, int]] = {"buffer": {}, "queue": {"limit": SMALL}}
every_reason = pytest.mark.parametrize("limit", FULL.values(), ids=FULL)


def _fill(capture: aiopcap.LiveCapture, limit: dict[str, int]) -> list[bytes]:
    return fill(capture, 60 if limit else 1514)


@every_reason
async def test_without_waiting_there_is_no_room(veth: Veth, limit: dict[str, int]) -> None:
    gate = Gate(veth)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            gate.shut(**limit)
            sent = _fill(capture, limit)
            assert len(sent) > 20
            for _ in range(3):
                with pytest.raises(anyio.WouldBlock):
                    capture.send_nowait(numbered(1, start=777)[0])
            gate.open()
            assert await far.everything() == sent
            # There is room again, and nothing was tried behind anybody's back.
            capture.send_nowait(numbered(1, start=888)[0])
            assert await far.everything() == numbered(1, start=888)


@every_reason
async def test_who_sends_waits_for_room(veth: Veth, limit: dict[str, int]) -> None:
    gate, last = Gate(veth), numbered(1, start=777)
    done: list[str] = []

    async def send(method: str) -> None:
        await METHODS[method](capture, last[0])
        done.append(method)

    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in WAITING:
                gate.shut(**limit)
                sent = _fill(capture, limit)
                with anyio.fail_after(PATIENCE):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(send, method)
                        await until_sending(capture)
                        assert method not in done
                        with pytest.raises(anyio.BusyResourceError):
                            capture.send_nowait(last[0])
                        gate.open()
                assert method in done
                assert await far.everything() == sent + last


@every_reason
async def test_who_waits_for_room_can_be_cancelled(veth: Veth, limit: dict[str, int]) -> None:
    gate, last = Gate(veth), numbered(1, start=777)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            gate.shut(**limit)
            sent = _fill(capture, limit)
            for method in [*WAITING, *WAITING]:
                begun = time.perf_counter()
                with anyio.move_on_after(0.01) as scope:
                    await METHODS[method](capture, last[0])
                assert scope.cancelled_caught
                assert time.perf_counter() - begun < 1
            gate.open()
            assert await far.everything() == sent
            # What was not sent can be sent now: once.
            await capture.send(last[0])
            assert await far.everything() == last


@every_reason
async def test_a_reader_goes_on_while_a_sender_waits(veth: Veth, limit: dict[str, int]) -> None:
    gate = Gate(veth)
    seen: list[int] = []

    async def read() -> None:
        nonlocal seen
        async for packet in capture:
            seen += numbers([packet])

    async with await open_live(veth.near, direction="in") as capture:
        with listening(veth) as far:
            gate.shut(**limit)
            sent = _fill(capture, limit)
            async with anyio.create_task_group() as reading:
                reading.start_soon(read)
                async with anyio.create_task_group() as sending:
                    sending.start_soon(capture.send, numbered(1, start=777)[0])
                    for number in range(20):
                        veth.send(numbered(1, start=number))
                        await until(lambda: len(seen) > number)  # noqa: B023 - called at once
                    gate.open()
                veth.send(numbered(1, start=20))
                await until(lambda: len(seen) > 20)
                reading.cancel_scope.cancel()
            assert seen == list(range(21))
            assert await far.everything() == [*sent, *numbered(1, start=777)]


async def _one_by_one(capture: aiopcap.LiveCapture, frames: list[bytes]) -> None:
    for data in frames:
        await capture.send(data)


async def _queue(capture: aiopcap.LiveCapture, frames: list[bytes]) -> None:
    report = await queue_of(frames).transmit(capture, pps=1e6)
    assert (report.packets, report.nbytes) == (len(frames), sum(map(len, frames)))


@pytest.mark.parametrize("send", [_one_by_one, _queue])
@pytest.mark.parametrize(
    ("count", "size", "rate", "limit"),
    [(500, 60, "4mbit", SMALL), (250, 1514, "40mbit", 10_000_000)],
    ids=["queue", "buffer"],
)
async def test_on_a_slow_device_all_arrive_in_order(
    veth: Veth, send: Any, count: int, size: int, rate: str, limit: int
) -> None:
    frames = numbered(count, size)
    gate = Gate(veth)
    gate.set(rate, limit)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            begun, worked = time.perf_counter(), time.process_time()
            await send(capture, frames)
            took, worked = time.perf_counter() - begun, time.process_time() - worked
            assert await far.everything() == frames
    if limit == SMALL:
        # It was refused at times, and slept in between; the short way tries each frame once more.
        assert 1 <= gate.refused() <= count + 10 + took / 0.0005
    assert took > 0.02
    assert worked < 0.8 * took


@pytest.mark.parametrize(
    ("method", "limit"),
    [("send", FULL["queue"]), ("transmit", FULL["queue"]), ("send", FULL["buffer"])],
    ids=["send, queue", "transmit, queue", "send, buffer"],
)
async def test_waiting_for_room_costs_nothing(
    veth: Veth, method: str, limit: dict[str, int]
) -> None:
    gate = Gate(veth)
    gate.shut(**limit)
    async with await open_live(veth.near) as capture:
        _fill(capture, limit)
        before, worked = gate.refused(), time.process_time()
        with anyio.move_on_after(0.2) as scope:
            await METHODS[method](capture, numbered(1)[0])
        assert scope.cancelled_caught
        assert time.process_time() - worked < 0.1
        if limit:
            # Now and then it is tried: not once a millisecond, and not only at the end.
            assert 4 <= gate.refused() - before <= 120
        else:
            assert gate.refused() == before


@pytest.mark.parametrize("send", ["send_batch", "transmit"])
async def test_a_batch_that_waits_and_is_cancelled_has_sent_its_first(
    veth: Veth, send: str
) -> None:
    frames = numbered(1000)
    queue = queue_of(frames)
    gate = Gate(veth)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            gate.shut(SMALL)
            with anyio.move_on_after(0.05) as scope:
                await (
                    capture.send_batch(frames) if send == "send_batch" else queue.transmit(capture)
                )
            assert scope.cancelled_caught
            gate.open()
            arrived = await far.everything()
            assert 20 < len(arrived) < 1000
            assert arrived == frames[: len(arrived)]
            if send == "transmit":
                await _send_the_rest(capture, queue, len(arrived))
                assert await far.everything() == frames[len(arrived) :]


async def _send_the_rest(capture: aiopcap.LiveCapture, queue: aiopcap.SendQueue, sent: int) -> None:
    report = queue.last_report
    assert report is not None
    assert (report.packets, report.next_index, report.nbytes) == (sent, sent, 60 * sent)
    assert (await queue.transmit(capture, start=sent)).packets == len(queue) - sent
