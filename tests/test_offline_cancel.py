"""Cancelled at whatever await: no packet of a file is lost, and none comes twice."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio import CancelScope, to_thread

import aiopcap
from tests.reading import SlowFile, checkpoints
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio

COUNT = 60
CONTENT = pcap_bytes(records(numbered(COUNT)))

Numbers = list[int]
Read = Callable[[aiopcap.OfflineCapture, Numbers], Coroutine[Any, Any, None]]


async def one_by_one(capture: aiopcap.OfflineCapture, got: Numbers) -> None:
    async for packet in capture:
        got.append(number_of(packet.data))


async def received(capture: aiopcap.OfflineCapture, got: Numbers) -> None:
    try:
        while True:
            got.append(number_of((await capture.receive()).data))
    except anyio.EndOfStream:
        return


async def in_batches(capture: aiopcap.OfflineCapture, got: Numbers) -> None:
    async for batch in capture.batches(3):
        got.extend(number_of(packet.data) for packet in batch)


async def in_turns(capture: aiopcap.OfflineCapture, got: Numbers) -> None:
    while True:
        async for packet in capture:
            got.append(number_of(packet.data))
            break
        else:
            return
        with contextlib.suppress(anyio.WouldBlock, anyio.EndOfStream):
            got.append(number_of(capture.receive_nowait().data))
        try:
            got.extend(number_of(packet.data) for packet in await capture.receive_batch())
        except anyio.EndOfStream:
            return


async def read_with_cancels(
    capture: aiopcap.OfflineCapture, read: Read, turns: int, cancels: int
) -> Numbers:
    """Read to the end, cancelled after so many turns of the event loop, so many times."""
    got: Numbers = []
    for _ in range(cancels):
        with CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel(scope: CancelScope = scope) -> None:
                    await checkpoints(turns)
                    scope.cancel()

                tasks.start_soon(cancel)
                await read(capture, got)
                tasks.cancel_scope.cancel()
    await read(capture, got)
    return got


class Fed:
    """A pipe that a thread writes into, a few bytes a time."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        for start in range(0, len(CONTENT), 311):
            os.write(self._writer, CONTENT[start : start + 311])
        os.close(self._writer)

    def close(self) -> None:
        self._thread.join()
        os.close(self.reader)


@pytest.mark.parametrize("read", [one_by_one, received, in_batches, in_turns])
@pytest.mark.parametrize("kind", ["memory", "pipe", "file object", "path"])
async def test_cancelled_after_any_number_of_turns(
    kind: str, read: Read, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cancel") / "file.pcap"
    path.write_bytes(CONTENT)
    # One turn more each time at first; later ones differ less.
    for turns in (*range(25), *range(25, 201, 25)):
        fed = Fed() if kind == "pipe" else None
        source: Any = {
            "memory": CONTENT,
            "pipe": fed and fed.reader,
            "file object": SlowFile(CONTENT, at_once=311),
            "path": path,
        }[kind]
        try:
            async with await aiopcap.open_offline(source) as capture:
                got = await read_with_cancels(capture, read, turns, cancels=4)
        finally:
            if fed is not None:
                fed.close()
        assert got == list(range(COUNT)), turns


@pytest.mark.parametrize("read", [one_by_one, in_batches])
async def test_cancelled_while_a_thread_is_in_a_read_that_blocks(read: Read) -> None:
    file = SlowFile(CONTENT, at_once=500)
    got: Numbers = []
    async with await aiopcap.open_offline(file) as capture:
        for _ in range(5):
            file.hold()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, capture, got)
                await to_thread.run_sync(file.entered.wait)
                tasks.cancel_scope.cancel()
            assert got == list(range(len(got)))
            # Again, with the thread of before still inside.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, capture, got)
                await checkpoints(20)
                tasks.cancel_scope.cancel()
            file.release()
        await read(capture, got)
    assert got == list(range(COUNT))
    assert not file.overlapped


async def test_cancelled_before_it_begins(tmp_path: Any) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    async with await aiopcap.open_offline(path) as capture:
        with CancelScope() as scope:
            scope.cancel()
            async for _ in capture:
                pytest.fail("a cancelled loop goes on")
        assert scope.cancelled_caught
        got: Numbers = []
        await one_by_one(capture, got)
    assert got == list(range(COUNT))


async def test_opening_is_cancelled_without_leaving_anything_open(tmp_path: Any) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    before = open_descriptors()
    opened = 0
    for turns in range(60):
        with CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel(scope: CancelScope = scope, turns: int = turns) -> None:
                    await checkpoints(turns)
                    scope.cancel()

                tasks.start_soon(cancel)
                async with await aiopcap.open_offline(path, filter="ip or not ip"):
                    opened += 1
                tasks.cancel_scope.cancel()
    # A thread that was left alone closes what it opens; it may still be about to.
    with anyio.fail_after(5):
        while open_descriptors().keys() - before.keys():
            await anyio.lowlevel.checkpoint()


async def test_opening_a_held_file_object_is_cancelled_at_once() -> None:
    file = SlowFile(CONTENT, held=True)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(aiopcap.open_offline, file)
            await to_thread.run_sync(file.entered.wait)
            tasks.cancel_scope.cancel()
    file.release()


async def test_a_timeout_around_each_packet_loses_nothing() -> None:
    fed = Fed()
    got: Numbers = []
    try:
        async with await aiopcap.open_offline(fed.reader) as capture:
            while len(got) < COUNT:
                with anyio.move_on_after(0):
                    got.append(number_of((await capture.receive()).data))
                with anyio.move_on_after(1):
                    got.append(number_of((await capture.receive()).data))
    finally:
        fed.close()
    assert got == list(range(COUNT))
