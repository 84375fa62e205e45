"""Sending: frames arrive as they are, once and in order, in each of the ways to give them."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aiopcap import Packet, PacketBatch, open_live, open_offline

from .support.frames import FAR_MAC, NEAR_MAC, frame, numbered
from .support.pcapfiles import pcap_bytes, records
from .support.veth import Veth
from .support_live import PATIENCE, collect, end, numbers, take, until
from .support_send import METHODS, listening, only

pytestmark = pytest.mark.anyio

SIZES = (14, 15, 59, 60, 61, 590, 1513, 1514)


def _inside(data: bytes) -> memoryview:
    return memoryview(b"before" + data + b"behind")[6:-6]


BUFFERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "part of a memoryview": _inside,
    "array": lambda data: array.array("B", data),
    "Packet": Packet,
    "Packet of a longer one": lambda data: Packet(data, wire_length=9000),
}


def _frames_of_all_sizes() -> list[bytes]:
    everything = bytes(range(256)) * 6
    return [
        NEAR_MAC + FAR_MAC + b"\x88\xb5" + everything[size % 7 :][: size - 14] for size in SIZES
    ]


async def test_a_frame_arrives_as_it_is(veth: Veth) -> None:
    frames = _frames_of_all_sizes()
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for form, make in BUFFERS.items():
                for data in frames:
                    await capture.send(make(data))
                    capture.send_nowait(make(data))
                assert await capture.send_batch(make(data) for data in frames) == len(frames)
                expected = [data for data in frames for _ in range(2)] + frames
                assert await far.everything() == expected, form


async def test_many_frames_arrive_in_order(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for count in (0, 1, 2, 511, 512, 513, 1024, 3001):
                before = veth.counters()
                frames = numbered(count)
                assert await capture.send_batch(frames) == count
                assert veth.counters().rx_packets - before.rx_packets == count
                assert await far.everything() == frames


async def test_a_generator_is_sent_to_its_end_and_all_forms_together(veth: Veth) -> None:
    frames = _frames_of_all_sizes() * 100

    def mixture() -> Iterator[Any]:
        makers = list(BUFFERS.values())
        for number, data in enumerate(frames):
            yield makers[number % len(makers)](data)

    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            assert await capture.send_batch(mixture()) == len(frames)
            assert await far.everything() == frames


async def test_a_generator_that_fails_sends_nothing(veth: Veth) -> None:
    def broken() -> Iterator[bytes]:
        yield from numbered(600)
        raise LookupError

    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            with pytest.raises(LookupError):
                await capture.send_batch(broken())
            assert await far.everything() == []
            await capture.send(frame())
            assert await far.everything() == [frame()]


async def _batch_of(frames: list[bytes], filter: str | None = None) -> PacketBatch:
    async with await open_offline(pcap_bytes(records(frames)), filter=filter) as capture:
        batch = await capture.receive_batch()
        with pytest.raises(anyio.EndOfStream):
            await capture.receive()
    return batch


async def test_a_batch_and_its_parts_are_sent(veth: Veth) -> None:
    parts = (slice(None), slice(100, 700), slice(1, None, 3), slice(None, None, -1), slice(5, 5))
    frames = [
        data
        for short, long in zip(numbered(400), numbered(400, 200, start=400), strict=True)
        for data in (short, long)
    ]
    batch = await _batch_of(frames)
    assert len(batch) == 800
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for part in parts:
                assert await capture.send_batch(batch[part]) == len(frames[part])
                assert await far.everything() == frames[part]


async def test_of_a_filtered_batch_only_what_passed_is_sent(veth: Veth) -> None:
    frames = [data for number in range(700) for data in numbered(1, 60 + number, start=number)]
    batch = await _batch_of(frames, "greater 150 and not greater 700")
    expected = [data for data in frames if 150 <= len(data) < 700]
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            assert await capture.send_batch(batch) == len(expected)
            assert await far.everything() == expected


async def test_what_was_captured_can_be_sent_back(veth: Veth) -> None:
    frames = _frames_of_all_sizes()[2:] + numbered(50, 300)
    async with await open_live(veth.near, immediate=True) as capture:
        with listening(veth) as far:
            veth.send(frames)
            await until(lambda: capture.statistics().received == len(frames))
            batch = await capture.receive_batch()
            assert await capture.send_batch(batch) == len(frames)
            for packet in batch:
                await capture.send(packet)
            assert await far.everything() == frames * 2


async def test_sending_runs_beside_reading(veth: Veth) -> None:
    incoming, outgoing = numbered(2000, 100), numbered(1500, 200, start=5000)
    seen: list[int] = []

    async def read() -> None:
        seen.extend(await collect(capture, 999_999))

    async def hear() -> None:
        for start in range(0, 2000, 50):
            veth.send(incoming[start : start + 50])
            await anyio.lowlevel.checkpoint()

    async with await open_live(veth.near) as capture:
        with listening(veth) as far, anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                async with anyio.create_task_group() as traffic:
                    traffic.start_soon(hear)
                    for data in outgoing[:500]:
                        await capture.send(data)
                    await capture.send_batch(outgoing[500:])
                veth.send(numbered(1, start=999_999))
            assert await far.everything() == outgoing
    # What it sent itself is not among it.
    assert seen == list(range(2000))


async def test_another_capture_sees_what_is_sent_and_the_sender_does_not(veth: Veth) -> None:
    async with await open_live(veth.near) as sender, await open_live(veth.near) as other:
        for number, method in enumerate(METHODS.values()):
            await only(method(sender, numbered(1, start=number)[0]))
        assert numbers(await take(other, 4)) == [0, 1, 2, 3]
        assert sender.statistics().received == 0
        veth.send(end(60))
        assert numbers(await take(sender, 1)) == [999]


async def test_other_tasks_have_their_turn_while_one_sends(veth: Veth) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        until = time.perf_counter() + 0.1
        while time.perf_counter() < until:
            await capture.send(frame())
        single, turns = turns, 0
        await capture.send_batch([frame()] * 50_000)
        tasks.cancel_scope.cancel()
    assert single >= 10
    assert turns >= 2


async def test_what_changes_after_the_call_does_not_change_the_frame(veth: Veth) -> None:
    data = bytearray(numbered(1, start=7)[0])
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            await capture.send(data)
            data[14:22] = bytes(8)
            data += b"longer"  # nothing holds on to the buffer
            assert await far.everything() == numbered(1, start=7)


WRONG = {
    "memoryview with gaps": memoryview(bytes(240))[::2],
    "str": "x" * 60,
    "None": None,
    "int": 60,
    "list": [0] * 60,
}


async def test_what_is_no_buffer_in_one_piece_is_refused(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in METHODS.values():
                for wrong in WRONG.values():
                    with pytest.raises((TypeError, BufferError)):
                        await only(method(capture, wrong))
                await only(method(capture, frame()))
                assert await far.everything() == [frame()]
