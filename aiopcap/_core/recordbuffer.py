"""Packets as pcap records, in a buffer on their way to a file."""

import struct
from typing import Any

from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

BUFFER_BYTES = 1024 * 1024
RECORD_HEADER_BYTES = 16

_RECORD_HEADER = struct.Struct("=IIII")


class RecordBuffer:
    """Whole records, behind the file's header where it is the first buffer of a file.

    It grows for a record that is larger than all of it, and only for that.
    """

    def __init__(self, *, nanoseconds: bool, header: bytes = b"") -> None:
        self._nanoseconds = nanoseconds
        self._divisor = 1 if nanoseconds else 1000
        self._bytes = bytearray(BUFFER_BYTES)
        self._native = ffi.from_buffer("uint8_t[]", self._bytes)
        self._bytes[: len(header)] = header
        self._header = len(header)
        self.used = len(header)

    def append(self, packet: Packet) -> bool:
        """Add a record; False, with nothing changed, when it has no room."""
        captured = len(packet)
        at = self.used
        start = at + RECORD_HEADER_BYTES
        if start + captured > len(self._bytes) and not self._make_room(captured):
            return False
        seconds, ns = divmod(packet.timestamp_ns, 1_000_000_000)
        fraction = ns // self._divisor
        _RECORD_HEADER.pack_into(self._bytes, at, seconds, fraction, captured, packet.wire_length)
        self._bytes[start : start + captured] = packet.data
        self.used = start + captured
        return True

    def append_rows(self, rows: Any, first: int) -> int:
        """Add records of a batch, as C has it, from number first on.

        Returns:
            The number of the first that had no room.
        """
        if first < rows.count:
            self._make_room(rows.captured_lengths[first])
        used = ffi.new("size_t *")
        room = len(self._bytes) - self.used
        after: int = lib.aiopcap_encode_rows(
            rows, first, self._nanoseconds, self._native + self.used, room, used
        )
        self.used += used[0]
        return after

    def view(self) -> memoryview:
        """Return what is to be written; release it before more is added."""
        return memoryview(self._bytes)[: self.used]

    def whole(self, length: int) -> int:
        """Return how many of the first bytes are the file's header and whole records."""
        if length < self._header:
            return 0
        records = lib.aiopcap_whole_records(self._native + self._header, length - self._header)
        return self._header + int(records)

    def clear(self) -> None:
        """Forget all records."""
        self.used = self._header = 0

    def _make_room(self, captured: int) -> bool:
        needed = RECORD_HEADER_BYTES + captured
        if self.used == 0 and needed > len(self._bytes):
            self._bytes = bytearray(needed)
            self._native = ffi.from_buffer("uint8_t[]", self._bytes)
        return self.used + needed <= len(self._bytes)
