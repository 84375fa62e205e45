"""pcap: what a file's header says, which packets can be in it, and their records."""

import struct
from dataclasses import dataclass
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.filter import check_snaplen
from aiopcap._core.interfaces import InterfaceStatistics
from aiopcap._core.linktype import LinkType, linktype_to_file
from aiopcap._core.packet import Packet
from aiopcap._core.savefileformat import CheckedBatch, Key, check_fields, check_rows
from aiopcap._native import lib

RECORD_HEADER_BYTES = 16
ANY_LENGTH = 2**32 - 1
MAX_TIMESTAMP_NS = (2**32 - 1) * 1_000_000_000 + 999_999_999

_MAGIC = {"nano": 0xA1B23C4D, "micro": 0xA1B2C3D4}
_RECORD_HEADER = struct.Struct("=IIII")


@dataclass(frozen=True, slots=True)
class PcapFormat:
    """What the header of a pcap file says, checked.

    Attributes:
        linktype: What every packet begins with.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
        checksum_bits: The upper bits of the header's link type field, which tell how long the
            frames' checksums are.
    """

    linktype: LinkType
    snaplen: int
    precision: str
    checksum_bits: int = 0

    def __post_init__(self) -> None:
        check_snaplen(self.snaplen)
        if self.precision not in _MAGIC:
            raise ValueError(f"precision is 'nano' or 'micro', not {self.precision!r}")
        if linktype_to_file(self.linktype) > 0xFFFF:
            raise ValueError(f"link type {self.linktype} has no number in savefiles")

    def header(self) -> bytes:
        """Return the 24 bytes."""
        number = linktype_to_file(self.linktype) | self.checksum_bits
        fields = (_MAGIC[self.precision], 2, 4, 0, 0, self.snaplen, number)
        return struct.pack("=IHHiIII", *fields)

    @property
    def name(self) -> str:
        """The format's."""
        return "pcap"

    def encoder(self) -> "PcapEncoder":
        """Return what writes packets to such a file."""
        return PcapEncoder(self)

    def check(self, packet: Packet) -> None:
        """Refuse a packet that cannot be written as it is.

        Raises:
            ValueError: If it contradicts itself or the file.
        """
        check_fields(packet, self.snaplen, MAX_TIMESTAMP_NS)
        if packet.linktype is not None and packet.linktype != self.linktype:
            self._refuse_linktype(packet.linktype)

    def check_batch(self, batch: PacketBatch) -> CheckedBatch:
        """Return the batch as C takes it, when all of it can be written.

        Raises:
            ValueError: If one of its packets cannot.
        """
        if batch.linktype != self.linktype:
            self._refuse_linktype(batch.linktype)
        return check_rows(batch, lib.aiopcap_check_rows, self.snaplen, MAX_TIMESTAMP_NS)

    def _refuse_linktype(self, linktype: LinkType) -> None:
        raise ValueError(
            f"packets of link type {LinkType(linktype).name} cannot be written to a file of "
            f"{self.linktype.name}; a pcapng file can have several"
        )


class PcapEncoder:
    """Writes packets as records; nothing has to come before them.

    Args:
        format: Of the file.
    """

    least_bytes = RECORD_HEADER_BYTES

    def __init__(self, format: PcapFormat) -> None:
        self._nanoseconds = format.precision == "nano"
        self._divisor = 1 if self._nanoseconds else 1000

    def begin_file(self) -> None:
        """Do nothing: every file begins the same."""

    def keys(self, packet: Packet) -> tuple[Key, ...]:
        """Return no key."""
        return ()

    def description_bytes(self, keys: tuple[Key, ...], *, missing: bool = False) -> int:
        """Return 0."""
        return 0

    def describe(self, keys: tuple[Key, ...]) -> bytes:
        """Return nothing."""
        return b""

    def statistics(
        self, linktype: LinkType | None, name: str | None, statistics: InterfaceStatistics
    ) -> tuple[tuple[Key, ...], bytes]:
        """Raise ValueError."""
        raise ValueError("a pcap file has no place for statistics; a pcapng file has")

    def size(self, packet: Packet) -> int:
        """Return how many bytes a packet's record has."""
        return RECORD_HEADER_BYTES + len(packet)

    def row_size(self, checked: CheckedBatch, row: int) -> int:
        """Return how many bytes a row's record has."""
        return RECORD_HEADER_BYTES + int(checked.native.captured_lengths[row])

    def put(self, packet: Packet, out: bytearray, at: int) -> int:
        """Write a record; returns where it ends."""
        captured = len(packet)
        start = at + RECORD_HEADER_BYTES
        seconds, ns = divmod(packet.timestamp_ns, 1_000_000_000)
        fraction = ns // self._divisor
        _RECORD_HEADER.pack_into(out, at, seconds, fraction, captured, packet.wire_length)
        out[start : start + captured] = packet.data
        return start + captured

    def put_rows(
        self, checked: CheckedBatch, first: int, end: int, out: Any, room: int, used: Any
    ) -> int:
        """Write records of a batch while they fit; returns the row after them."""
        return int(
            lib.aiopcap_encode_rows(checked.native, first, end, self._nanoseconds, out, room, used)
        )

    def whole(self, records: Any, length: int) -> int:
        """Return how many of so many bytes are whole records."""
        return int(lib.aiopcap_whole_records(records, length, ANY_LENGTH))
