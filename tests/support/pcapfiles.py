"""pcap savefiles as bytes, written by hand in every variant a reader can meet."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = [
    "MAGIC_MICRO",
    "MAGIC_MODIFIED",
    "MAGIC_NANO",
    "ByteOrder",
    "Precision",
    "Record",
    "pcap_bytes",
    "pcap_header",
    "pcap_record",
    "records",
]

ByteOrder = Literal["little", "big"]
Precision = Literal["micro", "nano"]

MAGIC_MICRO = 0xA1B2C3D4
MAGIC_NANO = 0xA1B23C4D
# Kuznetzov's variant: each record header says the interface, the EtherType and the direction.
MAGIC_MODIFIED = 0xA1B2CD34

_ORDER_SIGN = {"little": "<", "big": ">"}
_ETHERNET = 1

# 14 November 2023: far from zero, and before the 32-bit second turns negative.
_START_NS = 1_700_000_000_000_000_000


class Record(NamedTuple):
    """One packet of a savefile."""

    timestamp_ns: int
    data: bytes
    wire_length: int | None = None  # None: as long as the data


def records(datas: Iterable[bytes], *, step_ns: int = 1_000_000) -> list[Record]:
    """Give frames timestamps that are evenly spaced and whole in microseconds."""
    return [Record(_START_NS + index * step_ns, data) for index, data in enumerate(datas)]


def pcap_header(
    *,
    order: ByteOrder = "little",
    magic: int = MAGIC_MICRO,
    linktype: int = _ETHERNET,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    """Make the 24-byte header of a savefile."""
    fields = (magic, *version, 0, 0, snaplen, linktype)
    return struct.pack(_ORDER_SIGN[order] + "IHHiIII", *fields)


def pcap_record(
    record: Record,
    *,
    order: ByteOrder = "little",
    precision: Precision = "micro",
    modified: bool = False,
    interface_index: int = 1,
    protocol: int = 0,
    packet_type: int = 0,
) -> bytes:
    """Make one record: a header of 16 bytes (24 in the modified format) and the data.

    The seconds wrap at 32 bits, as they do in the format.
    """
    seconds, nanoseconds = divmod(record.timestamp_ns, 1_000_000_000)
    fraction = nanoseconds if precision == "nano" else nanoseconds // 1000
    length = len(record.data) if record.wire_length is None else record.wire_length
    sign = _ORDER_SIGN[order]
    header = struct.pack(sign + "IIII", seconds & 0xFFFFFFFF, fraction, len(record.data), length)
    if modified:
        header += struct.pack(sign + "IHBB", interface_index, protocol, packet_type, 0)
    return header + record.data


def pcap_bytes(
    packets: Iterable[Record],
    *,
    order: ByteOrder = "little",
    precision: Precision = "micro",
    magic: int | None = None,
    linktype: int = _ETHERNET,
    snaplen: int = 262144,
    modified: bool = False,
) -> bytes:
    """Make a whole savefile.

    Args:
        packets: The packets, in the order they shall have in the file.
        order: Byte order of the headers.
        precision: Unit of the sub-second field.
        magic: First number of the file; by default the one that fits the format.
        linktype: The LINKTYPE_ value.
        snaplen: Largest captured length in bytes, as the header states it.
        modified: Write Kuznetzov's modified format, which knows microseconds only.
    """
    if magic is None:
        magic = MAGIC_NANO if precision == "nano" else MAGIC_MICRO
        if modified:
            magic = MAGIC_MODIFIED
    header = pcap_header(order=order, magic=magic, linktype=linktype, snaplen=snaplen)
    body = (
        pcap_record(packet, order=order, precision=precision, modified=modified)
        for packet in packets
    )
    return header + b"".join(body)
