"""One packet: the part of `Packet` that is Python.

The type and its fields are C, as the cost of a loop over packets is that of making them. What is
called rarely is written here and added to it.
"""

import datetime as dt
from collections.abc import Iterable

from aiopcap._core.errors import printable
from aiopcap._core.linktype import LinkType
from aiopcap._core.options import (
    OPTION_COMMENT,
    Option,
    comments_of,
    format_options,
    parse_options,
)
from aiopcap._native import Packet

__all__ = ["Packet"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _captured_length(packet: Packet) -> int:
    """How many bytes were captured: `len(data)`."""
    return len(packet)


def _timestamp(packet: Packet) -> float:
    """Seconds since 1970, as a float: convenient, and exact to about 0.2 µs only."""
    return packet.timestamp_ns / 1e9


def _datetime(packet: Packet) -> dt.datetime:
    """The time stamp as an aware `datetime.datetime` in UTC, cut to microseconds."""
    return _EPOCH + dt.timedelta(microseconds=packet.timestamp_ns // 1000)


def _options(packet: Packet) -> tuple[Option, ...]:
    """What a pcapng file says of it beside its fields; comments are among them."""
    return tuple(parse_options(packet._options or b""))


def _comments(packet: Packet) -> tuple[str, ...]:
    """The comments on it, in a pcapng file."""
    return comments_of(_options(packet))


def _with_options(packet: Packet, options: Iterable[tuple[int, bytes]]) -> Packet:
    """Return the packet with other options, codes and values, for a pcapng file.

    Numbers in the values are in this machine's byte order.

    Raises:
        ValueError: If one does not fit in a file.
    """
    return _restore(
        *_value(packet), packet.linktype, packet.interface, format_options(options) or None
    )


def _with_comments(packet: Packet, *comments: str) -> Packet:
    """Return the packet with other comments, and its other options.

    Raises:
        ValueError: If a comment is longer than 65535 bytes in UTF-8.
    """
    others = [option for option in _options(packet) if option.code != OPTION_COMMENT]
    return _with_options(
        packet, [*((OPTION_COMMENT, comment.encode()) for comment in comments), *others]
    )


def _bytes(packet: Packet) -> bytes:
    return packet.data


def _value(packet: Packet) -> tuple[int, int, bytes]:
    return (packet.timestamp_ns, packet.wire_length, packet.data)


def _equal(packet: Packet, other: object) -> bool:
    return _value(packet) == _value(other) if isinstance(other, Packet) else NotImplemented


def _hash(packet: Packet) -> int:
    return hash(_value(packet))


def _repr(packet: Packet) -> str:
    # Never the contents: reprs end up in logs.
    seconds, fraction = divmod(packet.timestamp_ns, 1_000_000_000)
    when = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    cut = f" of {packet.wire_length}" if packet.wire_length != len(packet) else ""
    source = f" {printable(packet.interface)}" if packet.interface else ""
    return f"<Packet {when}.{fraction:09d}Z{source} {len(packet)}{cut} bytes>"


def _reduce(packet: Packet) -> tuple[object, ...]:
    state = (*_value(packet), packet.linktype, packet.interface, packet._options)
    return (_restore, state)


def _restore(
    timestamp_ns: int,
    wire_length: int,
    data: bytes,
    linktype: LinkType | None,
    interface: str | None,
    options: bytes | None = None,
) -> Packet:
    return Packet(
        data,
        timestamp_ns=timestamp_ns,
        wire_length=wire_length,
        linktype=linktype,
        interface=interface,
        _options=options,
    )


for _name, _attribute in {
    "captured_length": property(_captured_length),
    "timestamp": property(_timestamp),
    "datetime": property(_datetime),
    "options": property(_options),
    "comments": property(_comments),
    "with_options": _with_options,
    "with_comments": _with_comments,
    "__bytes__": _bytes,
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _repr,
    "__reduce__": _reduce,
}.items():
    setattr(Packet, _name, _attribute)
