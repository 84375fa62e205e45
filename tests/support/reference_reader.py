"""A strict reader of savefiles in pure Python: which packets come, and how a file ends.

Written from the descriptions of the two formats (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng)
and from what libpcap documents of its limits. Where `oracle.read_pcap` believes a file, this one
doubts it: it exists to say what has to become of damaged files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from .pcapfiles import Record

__all__ = ["Reading", "read_savefile"]

End = Literal["complete", "truncated", "invalid"]

_LARGEST_PACKET = 262144
_LARGEST_OF_LINKTYPE = {231: 128 << 20, 249: 128 << 20, 279: 8 << 20}
_LARGEST_ANNOUNCED = 16 << 20
_LARGEST_BLOCK = 16 << 20
_RESERVED_BITS = 0x03FF0000

_PCAP = {
    # magic number: little endian?, nanoseconds?, length of a record's header
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
}
_SECTION = b"\n\r\r\n"


class Reading(NamedTuple):
    """What a file gives.

    Attributes:
        packets: All that are whole and come before the end.
        end: "complete" on a record's boundary, "truncated" inside a record or a header, "invalid"
            where the file contradicts itself.
    """

    packets: list[Record]
    end: End


class _EndError(Exception):
    def __init__(self, end: End) -> None:
        self.end = end


def read_savefile(content: bytes) -> Reading:
    """Read a savefile of either format from its bytes."""
    packets: list[Record] = []
    try:
        if len(content) < 4:
            raise _EndError("truncated")
        if content[:4] == _SECTION:
            found = _Pcapng(content).packets()
        elif content[:4] in _PCAP:
            found = _pcap(content)
        else:
            raise _EndError("invalid")
        for packet in found:  # one by one: those before an error count
            packets.append(packet)  # noqa: PERF402
    except _EndError as stop:
        return Reading(packets, stop.end)
    return Reading(packets, "complete")


def _limit(linktype: int, snaplen: int) -> int:
    least = _LARGEST_OF_LINKTYPE.get(linktype, _LARGEST_PACKET)
    return max(least, min(snaplen, _LARGEST_ANNOUNCED))


def _pcap(content: bytes) -> Iterator[Record]:
    sign, ns_per_unit, header_length = _PCAP[content[:4]]
    if len(content) < 24:
        raise _EndError("truncated")
    major, minor, _, _, snaplen, network = struct.unpack_from(sign + "HHiIII", content, 4)
    if (major, minor) not in {(2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (543, 0)}:
        raise _EndError("invalid")
    if network & _RESERVED_BITS:
        raise _EndError("invalid")
    linktype = network & 0xFFFF
    lengths_swapped = minor < 3
    maybe_swapped = minor == 3
    limit = _limit(linktype, snaplen if snaplen < 1 << 31 else 0)
    if snaplen == 0 or snaplen >= 1 << 31:
        snaplen = limit
    if header_length == 24 and linktype == 1:
        # The patched systems counted without the Ethernet header; libpcap makes up for it.
        snaplen += 14
    position = 24
    while position < len(content):
        if position + header_length > len(content):
            raise _EndError("truncated")
        seconds, fraction, captured, length = struct.unpack_from(sign + "IIII", content, position)
        # Versions before 2.4 had the two lengths the other way round, 2.3 either way.
        if lengths_swapped or (maybe_swapped and captured > length):
            captured, length = length, captured
        position += header_length
        if captured > limit:
            raise _EndError("invalid")
        if position + captured > len(content):
            raise _EndError("truncated")
        data = content[position : position + min(captured, snaplen)]
        yield Record(seconds * 1_000_000_000 + fraction * ns_per_unit, data, length)
        position += captured


class _Interface(NamedTuple):
    linktype: int
    snaplen: int
    units_per_second: int
    offset_s: int


class _Pcapng:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sign = "<"
        self._interfaces: list[_Interface] = []

    def _numbers(self, code: str, data: bytes, at: int = 0) -> tuple[int, ...]:
        if at + struct.calcsize("=" + code) > len(data):
            raise _EndError("invalid")
        return struct.unpack_from(self._sign + code, data, at)

    def packets(self) -> Iterator[Record]:
        position = 0
        while position < len(self._content):
            kind, body, position = self._block(position)
            if kind == 0x0A0D0D0A:
                self._section(body)
            elif kind == 1:
                self._interface(body)
            elif kind in (2, 3, 6):
                yield self._packet(kind, body)

    def _block(self, position: int) -> tuple[int, bytes, int]:
        content = self._content
        if position + 12 > len(content):
            raise _EndError("truncated")
        least = 12
        if content[position : position + 4] == _SECTION:
            magic = content[position + 8 : position + 12]
            if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                raise _EndError("invalid")
            self._sign = "<" if magic[0] == 0x4D else ">"
            least = 28
        kind, total = self._numbers("II", content, position)
        if total < least or total % 4 or total > _LARGEST_BLOCK:
            raise _EndError("invalid")
        end = position + total
        if end > len(content):
            raise _EndError("truncated")
        if self._numbers("I", content, end - 4) != (total,):
            raise _EndError("invalid")
        return kind, content[position + 8 : end - 4], end

    def _section(self, body: bytes) -> None:
        if self._numbers("HH", body, 4) not in ((1, 0), (1, 2)):
            raise _EndError("invalid")
        self._interfaces = []

    def _interface(self, body: bytes) -> None:
        linktype, _, snaplen = self._numbers("HHI", body)
        units_per_second, offset_s = 1_000_000, 0
        position = 8
        while position + 4 <= len(body):
            code, length = self._numbers("HH", body, position)
            if code == 0:
                break
            value = body[position + 4 : position + 4 + length]
            position += 4 + length + -length % 4
            if position > len(body):
                raise _EndError("invalid")
            if code == 9 and length == 1:
                base, exponent = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
                if exponent > (63 if base == 2 else 19):
                    raise _EndError("invalid")
                units_per_second = base**exponent
            elif code == 14 and length == 8:
                (offset_s,) = self._numbers("q", value)
        self._interfaces.append(_Interface(linktype, snaplen, units_per_second, offset_s))

    def _packet(self, kind: int, body: bytes) -> Record:
        number, units, captured = 0, 0, None
        if kind == 3:
            (length,) = self._numbers("I", body)
            start = 4
        else:
            high, low, captured, length = self._numbers("IIII", body, 4)
            (number,) = self._numbers("I" if kind == 6 else "H", body)
            units = high << 32 | low
            start = 20
        if number >= len(self._interfaces):
            raise _EndError("invalid")
        interface = self._interfaces[number]
        if captured is None:
            captured = min(length, interface.snaplen) if interface.snaplen else length
        if start + captured > len(body) or captured > _limit(interface.linktype, interface.snaplen):
            raise _EndError("invalid")
        timestamp_ns = 0
        if kind != 3:
            timestamp_ns = units * 1_000_000_000 // interface.units_per_second
            timestamp_ns += interface.offset_s * 1_000_000_000
            if not -(1 << 63) <= timestamp_ns < 1 << 63:
                raise _EndError("invalid")
        return Record(timestamp_ns, body[start : start + captured], length)
