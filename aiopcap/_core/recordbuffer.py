"""Packets as records, in a buffer on their way to a file."""

from collections.abc import Callable
from typing import Any

from aiopcap._core.packet import Packet
from aiopcap._core.savefileformat import CheckedBatch, Encoder
from aiopcap._native import ffi

# Both buffers of a writer together. In a half there is room for several batches of a file that is
# copied: with less, much of it stays empty, and copying takes up to a quarter longer.
BUFFER_BYTES = 3 * 1024 * 1024


class RecordBuffer:
    """Whole records.

    It grows for a record or a batch that is larger than all of it, and only for those, and only
    until it is cleared.

    Args:
        encoder: Writes the records.
        size: In bytes.

    Attributes:
        used: How many bytes the records have.
        cuts: Where the next file of a rotation begins, with the time when it did.
    """

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder = encoder
        self._size = size
        self._allocate(size)
        self.used = 0
        self.cuts: list[tuple[int, float]] = []

    def make_room(self, needed: int) -> bool:
        """Return whether so many bytes can be added."""
        if self.used == 0 and needed > len(self._bytes):
            self._allocate(needed)
        return self.used + needed <= len(self._bytes)

    def append(self, packet: Packet) -> None:
        """Add a record, for which there must be room."""
        self.used = self._encoder.put(packet, self._bytes, self.used)

    def append_bytes(self, records: bytes) -> None:
        """Add whole records, for which there must be room."""
        self._bytes[self.used : self.used + len(records)] = records
        self.used += len(records)

    def append_rows(
        self, checked: CheckedBatch, first: int, most_rows: int, most_bytes: int
    ) -> int:
        """Add records of a batch while they fit; returns the row after them."""
        used = ffi.new("size_t *")
        room = min(len(self._bytes) - self.used, most_bytes)
        end = min(checked.native.count, first + most_rows)
        out = self._native + self.used
        row = self._encoder.put_rows(checked, first, end, out, room, used)
        self.used += used[0]
        return row

    def cut(self, time: float) -> None:
        """Have what is added from now on go to the next file, which began at this time."""
        self.cuts.append((self.used, time))

    @property
    def room(self) -> int:
        """How many bytes it has room for without growing."""
        return len(self._bytes) - self.used

    def fill(self, write: Callable[[Any, int], int]) -> None:
        """Have records written by another, who is told where and how long, and says how much."""
        self.used += write(self._native + self.used, self.room)

    def view(self) -> memoryview:
        """Return what is to be written; release it before more is added."""
        return memoryview(self._bytes)[: self.used]

    def whole(self, start: int, length: int) -> int:
        """Return how many of so many bytes, from a record's start on, are whole records."""
        return self._encoder.whole(self._native + start, length)

    def clear(self) -> None:
        """Forget all records."""
        self.used = 0
        self.cuts = []
        if len(self._bytes) > self._size:
            self._allocate(self._size)

    def _allocate(self, size: int) -> None:
        self._bytes = bytearray(size)
        self._native = ffi.from_buffer("uint8_t[]", self._bytes)
