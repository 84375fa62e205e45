"""Reading savefiles with aiopcap, in the ways that tests of files need."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import anyio
import anyio.lowlevel
import pytest

import aiopcap
from tests.support.pcapfiles import Record
from tests.support.reference_reader import Reading
from tests.support.resources import open_descriptors

End = Literal["complete", "truncated", "invalid"]


class Outcome(NamedTuple):
    """What a file gave: packets, and what ended them."""

    packets: list[aiopcap.Packet]
    error: aiopcap.SavefileError | None

    @property
    def end(self) -> End:
        """How it ended, in the words of the reference reader."""
        if self.error is None:
            return "complete"
        return "truncated" if isinstance(self.error, aiopcap.TruncatedSavefileError) else "invalid"

    @property
    def reading(self) -> Reading:
        """The same as the reference reader gives it."""
        return Reading(as_records(self.packets), self.end)


def as_records(packets: Iterable[aiopcap.Packet]) -> list[Record]:
    """Packets as plain tuples."""
    return [Record(packet.timestamp_ns, packet.data, packet.wire_length) for packet in packets]


def filled(records: Iterable[Record]) -> list[Record]:
    """Records with the wire length that a file has for them."""
    return [
        Record(time_ns, data, len(data) if length is None else length)
        for time_ns, data, length in records
    ]


async def rest_of(capture: aiopcap.OfflineCapture) -> Outcome:
    """Read what a capture has left, with `async for`."""
    packets: list[aiopcap.Packet] = []
    try:
        async for packet in capture:
            packets.append(packet)  # noqa: PERF401 - those before an error count
    except aiopcap.SavefileError as error:
        return Outcome(packets, error)
    return Outcome(packets, None)


async def read_all(source: Any, **options: Any) -> Outcome:
    """Read a savefile to its end."""
    try:
        capture = await aiopcap.open_offline(source, **options)
    except aiopcap.SavefileError as error:
        return Outcome([], error)
    async with capture:
        return await rest_of(capture)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; the writer may be closed before."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        if writer in open_descriptors():
            os.close(writer)


async def checkpoints(count: int) -> None:
    """Let the event loop make so many turns."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class SlowFile(io.RawIOBase):
    """A file that gives a few bytes a time, and that a test can hold in the middle of a read.

    Attributes:
        held: While it is set, a read waits.
        entered: Set by each read; the test clears it.
        overlapped: Whether two threads were ever in a read at the same time.
    """

    def __init__(self, content: bytes, *, at_once: int = 1000, held: bool = False) -> None:
        self._content = io.BytesIO(content)
        self._at_once = at_once
        self._go = threading.Event()
        self._busy = threading.Lock()
        self.entered = threading.Event()
        self.overlapped = False
        if not held:
            self._go.set()

    def hold(self) -> None:
        """Let the next read wait."""
        self.entered.clear()
        self._go.clear()

    def release(self) -> None:
        """Let reads go on."""
        self._go.set()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.overlapped |= not self._busy.acquire(blocking=False)
        try:
            self.entered.set()
            assert self._go.wait(30), "a test left the file held"
            return self._content.readinto(memoryview(buffer)[: self._at_once])
        finally:
            if self._busy.locked():
                self._busy.release()


# What the fixture `make` is: it makes a source, of the parameter's kind, of a file's bytes.
Make = Callable[[bytes], Any]


sources = pytest.mark.parametrize("kind", ["path", "memory", "few bytes a time"])
