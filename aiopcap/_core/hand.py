"""The packets in hand: the batch that a capture read last, and how far it was delivered.

Beside what passed the filter it holds all that was read, so that a new filter is tried on all that
follows the packet that was delivered last.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.packet import Packet
from aiopcap._native import Cursor, Rows, Stream

# How long packets are delivered before other tasks run. On asyncio a task that sleeps has its turn
# after three of these: its timer, its future and itself.
SLICE_NS = 500_000


class Hand:
    """A batch, and a position in it."""

    def __init__(self) -> None:
        self._cursor = Cursor()
        self._batch: PacketBatch | None = None
        self._all: PacketBatch | None = None
        self._rows: Rows | None = None

    def take(self, passing: PacketBatch, everything: PacketBatch) -> None:
        """Put a batch in the place of what is in hand.

        Args:
            passing: The packets to deliver.
            everything: The batch that they were selected from.
        """
        self._batch = passing
        self._all = everything
        self._rows = self._cursor.rows = passing._rows()
        self._rows.allow(SLICE_NS)

    def drop(self) -> None:
        """Empty the hand."""
        self._batch = self._all = self._rows = self._cursor.rows = None

    @property
    def left(self) -> bool:
        """Whether a packet is left."""
        rows = self._rows
        return rows is not None and rows.position < rows.count

    def begin_slice(self) -> None:
        """Let `packets` deliver for another while."""
        if self._rows is not None:
            self._rows.allow(SLICE_NS)

    @property
    def packets(self) -> Iterable[Packet]:
        """What is left, for as long as the slice lasts."""
        return () if self._rows is None else self._rows

    def deliver(self, max_packets: int | None) -> PacketBatch:
        """Return what is left, at most so many packets, and count it as delivered."""
        assert self._batch is not None
        assert self._rows is not None
        start = self._rows.position
        batch = self._batch[start:] if start else self._batch
        if max_packets is not None and max_packets < len(batch):
            batch = batch[:max_packets]
        self._rows.skip(len(batch))
        return batch

    def undelivered(self) -> PacketBatch | None:
        """Return all that was read after the packet delivered last, whether it passed or not."""
        if self._all is None or self._batch is None or self._rows is None:
            return None
        if self._rows.position == 0:
            return self._all
        last = self._batch.offsets[self._rows.position - 1]
        return self._all[bisect_right(self._all.offsets, last) :]

    def stream(self, wait: Callable[[], Coroutine[Any, Any, Packet]]) -> AsyncIterator[Packet]:
        """Return an async iterator over what is in hand now and later.

        Args:
            wait: Called when there is nothing to deliver, for the coroutine that waits.
        """
        return Stream(self._cursor, wait)
