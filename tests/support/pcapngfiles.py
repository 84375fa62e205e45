"""pcapng blocks as bytes, written by hand. A file is the blocks joined together."""

from __future__ import annotations

import struct

from .pcapfiles import ByteOrder

__all__ = ["block", "enhanced_packet", "interface", "option", "section", "simple_packet"]

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LENGTH_NOT_GIVEN = -1

_OPTION_END = 0
_IF_NAME = 2
_IF_DESCRIPTION = 3
_IF_TSRESOL = 9
_IF_TSOFFSET = 14

_ORDER_SIGN = {"little": "<", "big": ">"}


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def option(code: int, value: bytes, *, order: ByteOrder = "little") -> bytes:
    """Make one option: code, length and value, padded to four bytes."""
    return struct.pack(_ORDER_SIGN[order] + "HH", code, len(value)) + _padded(value)


def block(kind: int, body: bytes, *, order: ByteOrder = "little") -> bytes:
    """Make a block of any type, the unknown ones included."""
    sign = _ORDER_SIGN[order]
    body = _padded(body)
    length = struct.pack(sign + "I", 12 + len(body))
    return struct.pack(sign + "I", kind) + length + body + length


def section(*, order: ByteOrder = "little", version: tuple[int, int] = (1, 0)) -> bytes:
    """Make a Section Header Block."""
    body = struct.pack(_ORDER_SIGN[order] + "IHHq", _BYTE_ORDER_MAGIC, *version, _LENGTH_NOT_GIVEN)
    return block(_SECTION, body, order=order)


def interface(
    *,
    order: ByteOrder = "little",
    linktype: int = 1,
    snaplen: int = 262144,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    name: str | None = None,
    description: str | None = None,
) -> bytes:
    """Make an Interface Description Block.

    Args:
        order: Byte order of the section.
        linktype: The LINKTYPE_ value.
        snaplen: Largest captured length in bytes, 0 for no limit.
        tsresol: ``if_tsresol`` as it is stored: an exponent of ten, or of two with the top bit
            set. Without it timestamps count microseconds.
        tsoffset: ``if_tsoffset``, seconds to add to every timestamp.
        name: ``if_name``.
        description: ``if_description``.
    """
    options = b""
    if name is not None:
        options += option(_IF_NAME, name.encode(), order=order)
    if description is not None:
        options += option(_IF_DESCRIPTION, description.encode(), order=order)
    if tsresol is not None:
        options += option(_IF_TSRESOL, bytes([tsresol]), order=order)
    if tsoffset is not None:
        offset = struct.pack(_ORDER_SIGN[order] + "q", tsoffset)
        options += option(_IF_TSOFFSET, offset, order=order)
    if options:
        options += option(_OPTION_END, b"", order=order)
    fixed = struct.pack(_ORDER_SIGN[order] + "HHI", linktype, 0, snaplen)
    return block(_INTERFACE, fixed + options, order=order)


def enhanced_packet(
    data: bytes,
    ticks: int,
    *,
    order: ByteOrder = "little",
    interface_id: int = 0,
    wire_length: int | None = None,
    options: bytes = b"",
) -> bytes:
    """Make an Enhanced Packet Block.

    Args:
        data: The captured bytes.
        ticks: The timestamp in units of the interface's resolution.
        order: Byte order of the section.
        interface_id: Number of the interface in its section, from 0.
        wire_length: Length on the wire in bytes; by default that of the data.
        options: Options made by `option`, closing one included.
    """
    length = len(data) if wire_length is None else wire_length
    fields = (interface_id, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    fixed = struct.pack(_ORDER_SIGN[order] + "IIIII", *fields)
    return block(_ENHANCED_PACKET, fixed + _padded(data) + options, order=order)


def simple_packet(
    data: bytes, *, order: ByteOrder = "little", wire_length: int | None = None
) -> bytes:
    """Make a Simple Packet Block: no timestamp, and the first interface."""
    length = len(data) if wire_length is None else wire_length
    fixed = struct.pack(_ORDER_SIGN[order] + "I", length)
    return block(_SIMPLE_PACKET, fixed + data, order=order)
