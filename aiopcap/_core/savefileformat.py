"""What the two formats of savefiles have in common where they are written."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from aiopcap._core.batch import PacketBatch
from aiopcap._core.interfaces import InterfaceStatistics
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

# What an interface is known by in a file: its name, where it has one, and its packets' link type.
Key = tuple[str | None, LinkType]


class CheckedBatch(NamedTuple):
    """A batch that can be written.

    Attributes:
        native: As C has it.
        record_bytes: How long its records are together.
        keep: What keeps the memory alive.
        keys: The interfaces of its packets, where the format names them.
        numbers: The numbers that the batch has for these.
    """

    native: Any
    record_bytes: int
    keep: object
    keys: tuple[Key, ...] = ()
    numbers: tuple[int, ...] = ()


class Encoder(Protocol):
    """Writes packets in a format, to one file behind the other.

    Some formats describe interfaces before their packets. What was described is forgotten where
    a file begins.
    """

    least_bytes: int  # of a record

    def begin_file(self) -> None:
        """Take note that what comes next goes to a new file."""

    def keys(self, packet: Packet) -> tuple[Key, ...]:
        """Return the interface of a packet, where the format names it."""

    def description_bytes(self, keys: tuple[Key, ...], *, missing: bool = False) -> int:
        """Return how many bytes it takes to describe interfaces: all, or those that are not yet."""

    def describe(self, keys: tuple[Key, ...]) -> bytes:
        """Return what has to come before packets of these interfaces; it counts as written."""

    def statistics(
        self, linktype: LinkType | None, name: str | None, statistics: InterfaceStatistics
    ) -> tuple[tuple[Key, ...], bytes]:
        """Return an interface, and what is written of its counters once it is described.

        Raises:
            ValueError: If the format has no place for them.
        """

    def size(self, packet: Packet) -> int:
        """Return how many bytes a packet's record has."""

    def row_size(self, checked: CheckedBatch, row: int) -> int:
        """Return how many bytes a row's record has."""

    def put(self, packet: Packet, out: bytearray, at: int) -> int:
        """Write a record; returns where it ends."""

    def put_rows(
        self, checked: CheckedBatch, first: int, end: int, out: Any, room: int, used: Any
    ) -> int:
        """Write records of a batch while they fit; returns the row after them.

        Args:
            checked: The batch.
            first: The first row.
            end: The row behind the last.
            out: Where to write, as C has it.
            room: How many bytes are there.
            used: A `size_t *` for how many were written.
        """

    def whole(self, records: Any, length: int) -> int:
        """Return how many of so many bytes, as C has them, are whole records."""


class SavefileFormat(Protocol):
    """What is to be written, checked."""

    @property
    def name(self) -> str:
        """Return "pcap" or "pcapng"."""

    @property
    def linktype(self) -> LinkType | None:
        """What every packet begins with; where packets may differ, those that do not say."""

    @property
    def snaplen(self) -> int:
        """The most bytes of a packet."""

    @property
    def precision(self) -> str:
        """The resolution of time stamps, "nano" or "micro"."""

    def header(self) -> bytes:
        """Return what a file begins with."""

    def encoder(self) -> Encoder:
        """Return what writes packets to such files."""

    def check(self, packet: Packet) -> None:
        """Raise ValueError where a packet cannot be written as it is."""

    def check_batch(self, batch: PacketBatch) -> CheckedBatch:
        """Return a batch as C takes it; raises ValueError where a packet cannot be written."""


def check_fields(packet: Packet, snaplen: int, most_ns: int) -> None:
    """Raise ValueError where a packet contradicts itself, or the file."""
    captured = len(packet)
    if captured > packet.wire_length:
        _refuse(lib.AIOPCAP_ROW_LENGTHS, packet, snaplen, most_ns)
    if captured > snaplen:
        _refuse(lib.AIOPCAP_ROW_SNAPLEN, packet, snaplen, most_ns)
    if not 0 <= packet.timestamp_ns <= most_ns:
        _refuse(lib.AIOPCAP_ROW_TIME, packet, snaplen, most_ns)


def check_rows(
    batch: PacketBatch, check: Callable[..., int], snaplen: int, most_ns: int
) -> CheckedBatch:
    """Return a batch as C takes it, when a native check finds nothing in it.

    Raises:
        ValueError: If one of its packets cannot be written.
    """
    native, keep = batch._native()
    row, record_bytes = ffi.new("uint32_t *"), ffi.new("size_t *")
    fault = check(native, snaplen, row, record_bytes)
    if fault == lib.AIOPCAP_ROW_OUTSIDE:
        raise ValueError(f"packet {row[0]}: its bytes are outside the batch's data")
    if fault != lib.AIOPCAP_ROW_FINE:
        _refuse(fault, batch[row[0]], snaplen, most_ns, row[0])
    return CheckedBatch(native, int(record_bytes[0]), keep)


def _refuse(fault: int, packet: Packet, snaplen: int, most_ns: int, row: int | None = None) -> None:
    last_year = 2106 if most_ns < 2**63 - 1 else 2262
    words = {
        lib.AIOPCAP_ROW_LENGTHS: (
            f"it has {len(packet)} bytes, but a wire length of {packet.wire_length}"
        ),
        lib.AIOPCAP_ROW_SNAPLEN: (
            f"it has {len(packet)} bytes, more than the file's snaplen of {snaplen}"
        ),
        lib.AIOPCAP_ROW_TIME: (
            f"its time stamp of {packet.timestamp_ns} ns does not fit in the file, which spans "
            f"1970 to {last_year}"
        ),
    }
    where = "the packet" if row is None else f"packet {row}"
    raise ValueError(f"{where} cannot be written: {words[fault]}")
