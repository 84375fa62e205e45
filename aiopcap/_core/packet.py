"""One packet."""

import datetime as dt
from typing import final

from aiopcap._core.errors import printable
from aiopcap._core.linktype import LinkType
from aiopcap._native import PacketBase

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@final
class Packet(PacketBase):
    """A packet as it was captured, or as it is to be written: an immutable value.

    `len(packet)`, `bytes(packet)` and `memoryview(packet)` are those of its data. Two packets are
    equal when their data, time stamps and wire lengths are; where they came from does not count.

    Args:
        data: The bytes, from the link-layer header on.
        timestamp_ns: Nanoseconds since 1970-01-01 00:00 UTC.
        wire_length: How many bytes it had on the wire; as many as `data` where not given.
        linktype: What the data begins with, where known.
        interface: The device that it came from, where known.
    """

    __slots__ = ()

    linktype: LinkType | None

    @property
    def captured_length(self) -> int:
        """How many bytes were captured: `len(data)`."""
        return len(self)

    @property
    def timestamp(self) -> float:
        """Seconds since 1970, as a float: convenient, and exact to about 0.2 µs only."""
        return self.timestamp_ns / 1e9

    @property
    def datetime(self) -> dt.datetime:
        """The time stamp as an aware `datetime.datetime` in UTC, cut to microseconds."""
        return _EPOCH + dt.timedelta(microseconds=self.timestamp_ns // 1000)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packet):
            return NotImplemented
        return (
            self.timestamp_ns == other.timestamp_ns
            and self.wire_length == other.wire_length
            and self.data == other.data
        )

    def __hash__(self) -> int:
        return hash((self.timestamp_ns, self.wire_length, self.data))

    def __bytes__(self) -> bytes:
        return self.data

    def __repr__(self) -> str:
        # Never the contents: reprs end up in logs.
        seconds, fraction = divmod(self.timestamp_ns, 1_000_000_000)
        when = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        cut = f" of {self.wire_length}" if self.wire_length != len(self) else ""
        source = f" {printable(self.interface)}" if self.interface else ""
        return f"<Packet {when}.{fraction:09d}Z{source} {len(self)}{cut} bytes>"

    def __reduce__(self) -> tuple[object, ...]:
        state = (self.data, self.timestamp_ns, self.wire_length, self.linktype, self.interface)
        return (_restore, state)


def _restore(
    data: bytes,
    timestamp_ns: int,
    wire_length: int,
    linktype: LinkType | None,
    interface: str | None,
) -> Packet:
    return Packet(
        data,
        timestamp_ns=timestamp_ns,
        wire_length=wire_length,
        linktype=linktype,
        interface=interface,
    )
