"""A reader of pcap savefiles in pure Python, written from the format's description.

It is slow, keeps everything in memory and knows no corner it can cut, which is what makes it
fit to check a fast reader.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from .pcapfiles import MAGIC_MICRO, MAGIC_MODIFIED, MAGIC_NANO, ByteOrder, Precision, Record

__all__ = ["PacketLike", "PcapFile", "read_pcap", "record_digest"]

_FORMATS: dict[int, tuple[Precision, bool]] = {
    MAGIC_MICRO: ("micro", False),
    MAGIC_NANO: ("nano", False),
    MAGIC_MODIFIED: ("micro", True),
}


class PcapFile(NamedTuple):
    """What a savefile says."""

    order: ByteOrder
    precision: Precision
    modified: bool
    version: tuple[int, int]
    snaplen: int
    linktype: int
    records: list[Record]
    complete: bool  # False: the file ends inside a record


def read_pcap(content: bytes) -> PcapFile:
    """Read a savefile from its bytes.

    Raises:
        ValueError: It is not a pcap savefile, or its header is cut.
    """
    if len(content) < 24:
        raise ValueError("no complete file header")
    order: ByteOrder = "little"
    sign = "<"
    if int.from_bytes(content[:4], "little") not in _FORMATS:
        order, sign = "big", ">"
    magic, major, minor, _, _, snaplen, linktype = struct.unpack_from(sign + "IHHiIII", content)
    if magic not in _FORMATS:
        raise ValueError(f"no pcap magic: {content[:4].hex()}")
    precision, modified = _FORMATS[magic]
    header = struct.Struct(sign + "IIII")
    header_length = header.size + (8 if modified else 0)
    unit_ns = 1 if precision == "nano" else 1000

    records: list[Record] = []
    position = 24
    complete = True
    while position < len(content):
        if position + header_length > len(content):
            complete = False
            break
        seconds, fraction, captured, length = header.unpack_from(content, position)
        start = position + header_length
        if start + captured > len(content):
            complete = False
            break
        timestamp_ns = seconds * 1_000_000_000 + fraction * unit_ns
        records.append(Record(timestamp_ns, content[start : start + captured], length))
        position = start + captured
    return PcapFile(
        order, precision, modified, (major, minor), snaplen, linktype & 0xFFFF, records, complete
    )


class PacketLike(Protocol):
    """What a packet and a `Record` have in common."""

    @property
    def timestamp_ns(self) -> int: ...

    @property
    def data(self) -> bytes: ...

    @property
    def wire_length(self) -> int | None: ...


def record_digest(packets: Iterable[PacketLike]) -> str:
    """Digest packets as the corpus' ``DIGESTS.tsv`` does: SHA-256 over all records, in hex."""
    digest = hashlib.sha256()
    for packet in packets:
        captured = len(packet.data)
        length = captured if packet.wire_length is None else packet.wire_length
        # The oldest reader of the corpus had signed times; the digests leave the sign out.
        masked = packet.timestamp_ns & 0x7FFF_FFFF_FFFF_FFFF
        digest.update(struct.pack("<qII", masked, captured, length))
        digest.update(packet.data)
    return digest.hexdigest()
