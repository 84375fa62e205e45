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

    It grows for a record or a batch that is larger than all of it, and only for those.
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
        if start + captured > len(self._bytes) and not self._make_room(
            RECORD_HEADER_BYTES + captured
        ):
            return False
        seconds, ns = divmod(packet.timestamp_ns, 1_000_000_000)
        fraction = ns // self._divisor
        _RECORD_HEADER.pack_into(self._bytes, at, seconds, fraction, captured, packet.wire_length)
        self._bytes[start : start + captured] = packet.data
        self.used = start + captured
        return True

    def append_rows(self, rows: Any, record_bytes: int) -> bool:
        """Add the records of a batch, as C has it; False, with nothing changed, without room."""
        if not self._make_room(record_bytes):
            return False
        used = ffi.new("size_t *")
        lib.aiopcap_encode_rows(
            rows, self._nanoseconds, self._native + self.used, record_bytes, used
        )
        self.used += used[0]
        return True

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

    def _make_room(self, needed: int) -> bool:
        if self.used == 0 and needed > len(self._bytes):
            self._bytes = bytearray(needed)
            self._native = ffi.from_buffer("uint8_t[]", self._bytes)
        return self.used + needed <= len(self._bytes)
