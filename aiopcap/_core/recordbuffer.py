"""Packets as pcap records, in a buffer on their way to a file."""

import struct
from typing import Any

from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

# Both buffers of a writer together.
BUFFER_BYTES = 2 * 1024 * 1024
RECORD_HEADER_BYTES = 16
ANY_LENGTH = 2**32 - 1

_RECORD_HEADER = struct.Struct("=IIII")


class RecordBuffer:
    """Whole records.

    It grows for a record or a batch that is larger than all of it, and only for those, and only
    until it is cleared.

    Args:
        nanoseconds: Whether time stamps are written in these, or in microseconds.
        size: In bytes.

    Attributes:
        used: How many bytes the records have.
        cuts: Where the next file of a rotation begins, with the time when it did.
    """

    def __init__(self, *, nanoseconds: bool, size: int) -> None:
        self._nanoseconds = nanoseconds
        self._divisor = 1 if nanoseconds else 1000
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
        captured = len(packet)
        at = self.used
        start = at + RECORD_HEADER_BYTES
        seconds, ns = divmod(packet.timestamp_ns, 1_000_000_000)
        fraction = ns // self._divisor
        _RECORD_HEADER.pack_into(self._bytes, at, seconds, fraction, captured, packet.wire_length)
        self._bytes[start : start + captured] = packet.data
        self.used = start + captured

    def append_rows(self, rows: Any, first: int, most_rows: int, most_bytes: int) -> int:
        """Add records of a batch, as C has it, while they fit; returns the row after them."""
        used = ffi.new("size_t *")
        room = min(len(self._bytes) - self.used, most_bytes)
        end = min(rows.count, first + most_rows)
        out = self._native + self.used
        row = lib.aiopcap_encode_rows(rows, first, end, self._nanoseconds, out, room, used)
        self.used += used[0]
        return int(row)

    def cut(self, time: float) -> None:
        """Have what is added from now on go to the next file, which began at this time."""
        self.cuts.append((self.used, time))

    def view(self) -> memoryview:
        """Return what is to be written; release it before more is added."""
        return memoryview(self._bytes)[: self.used]

    def whole(self, start: int, length: int) -> int:
        """Return how many of so many bytes, from a record's start on, are whole records."""
        return int(lib.aiopcap_whole_records(self._native + start, length, ANY_LENGTH))

    def clear(self) -> None:
        """Forget all records."""
        self.used = 0
        self.cuts = []
        if len(self._bytes) > self._size:
            self._allocate(self._size)

    def _allocate(self, size: int) -> None:
        self._bytes = bytearray(size)
        self._native = ffi.from_buffer("uint8_t[]", self._bytes)
