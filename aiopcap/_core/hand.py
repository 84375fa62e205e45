"""The packets in hand: the batch that a capture read last, and how far it was delivered."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.packet import Packet
from aiopcap._native import Cursor, Rows, Stream

# How long packets are delivered before other tasks run.
SLICE_NS = 1_000_000


class Hand:
    """A batch, and a position in it."""

    def __init__(self) -> None:
        self._cursor = Cursor()
        self._batch: PacketBatch | None = None
        self._rows: Rows[Packet] | None = None

    def take(self, batch: PacketBatch) -> None:
        """Put a batch in the place of what is in hand."""
        self._batch = batch
        self._rows = self._cursor.rows = batch._rows()
        self._rows.allow(SLICE_NS)

    def drop(self) -> None:
        """Empty the hand."""
        self._batch = self._rows = self._cursor.rows = None

    def begin_slice(self) -> bool:
        """Let `packets` deliver for another while; False when there is nothing left."""
        if self._rows is None or self._rows.position == self._rows.count:
            return False
        self._rows.allow(SLICE_NS)
        return True

    @property
    def packets(self) -> Iterable[Packet]:
        """What is left, for as long as the slice lasts."""
        return () if self._rows is None else self._rows

    def rest(self) -> PacketBatch | None:
        """Return what is left as a batch; None when there is nothing."""
        if self._batch is None or self._rows is None or self._rows.position == self._rows.count:
            return None
        return self._batch[self._rows.position :] if self._rows.position else self._batch

    def stream(self, wait: Callable[[], Coroutine[Any, Any, Packet]]) -> AsyncIterator[Packet]:
        """Return an async iterator over what is in hand now and later.

        Args:
            wait: Called when there is nothing to deliver, for the coroutine that waits.
        """
        return Stream(self._cursor, wait)
