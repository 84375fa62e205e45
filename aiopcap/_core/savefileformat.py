"""What a pcap file's header says, and which packets can be in such a file."""

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiopcap._core.batch import PacketBatch
from aiopcap._core.filter import check_snaplen
from aiopcap._core.linktype import LinkType, linktype_to_file
from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

MAX_TIMESTAMP_NS = (2**32 - 1) * 1_000_000_000 + 999_999_999

_MAGIC = {"nano": 0xA1B23C4D, "micro": 0xA1B2C3D4}


class CheckedBatch(NamedTuple):
    """A batch that can be written.

    Attributes:
        native: As C has it.
        record_bytes: How long its records are together.
        keep: What keeps the memory alive.
    """

    native: Any
    record_bytes: int
    keep: object


@dataclass(frozen=True, slots=True)
class SavefileFormat:
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

    # -- packets ---------------------------------------------------------------------------------

    def check(self, packet: Packet) -> None:
        """Refuse a packet that cannot be written as it is.

        Raises:
            ValueError: If it contradicts itself or the file.
        """
        captured = len(packet)
        if captured > packet.wire_length:
            self._refuse(lib.AIOPCAP_ROW_LENGTHS, packet)
        if captured > self.snaplen:
            self._refuse(lib.AIOPCAP_ROW_SNAPLEN, packet)
        if not 0 <= packet.timestamp_ns <= MAX_TIMESTAMP_NS:
            self._refuse(lib.AIOPCAP_ROW_TIME, packet)
        if packet.linktype is not None and packet.linktype != self.linktype:
            self._refuse_linktype(packet.linktype)

    def check_batch(self, batch: PacketBatch) -> CheckedBatch:
        """Return the batch as C takes it, when all of it can be written.

        Raises:
            ValueError: If one of its packets cannot.
        """
        if batch.linktype != self.linktype:
            self._refuse_linktype(batch.linktype)
        native, keep = batch._native()
        row, record_bytes = ffi.new("uint32_t *"), ffi.new("size_t *")
        fault = lib.aiopcap_check_rows(native, self.snaplen, row, record_bytes)
        if fault == lib.AIOPCAP_ROW_OUTSIDE:
            raise ValueError(f"packet {row[0]}: its bytes are outside the batch's data")
        if fault != lib.AIOPCAP_ROW_FINE:
            self._refuse(fault, batch[row[0]], row[0])
        return CheckedBatch(native, int(record_bytes[0]), keep)

    def _refuse(self, fault: int, packet: Packet, row: int | None = None) -> None:
        words = {
            lib.AIOPCAP_ROW_LENGTHS: (
                f"it has {len(packet)} bytes, but a wire length of {packet.wire_length}"
            ),
            lib.AIOPCAP_ROW_SNAPLEN: (
                f"it has {len(packet)} bytes, more than the file's snaplen of {self.snaplen}"
            ),
            lib.AIOPCAP_ROW_TIME: (
                f"its time stamp of {packet.timestamp_ns} ns does not fit in a pcap file, which "
                "spans 1970 to 2106"
            ),
        }
        where = "the packet" if row is None else f"packet {row}"
        raise ValueError(f"{where} cannot be written: {words[fault]}")

    def _refuse_linktype(self, linktype: LinkType) -> None:
        raise ValueError(
            f"packets of link type {LinkType(linktype).name} cannot be written to a file of "
            f"{self.linktype.name}"
        )
