"""Small sound savefiles of every kind, and where their records end."""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

from tests.support import pcapngfiles as ng
from tests.support.pcapfiles import ByteOrder, Precision, Record, pcap_header, pcap_record

_TIME_NS = 1_700_000_000_123_456_000
_DATA = (b"", b"\x00\x01\x02", b"0123456789abcdef", b"\xff" * 5)


class Sample(NamedTuple):
    """A savefile.

    Attributes:
        name: What it is.
        content: Its bytes.
        opens: With so many bytes or more it can be opened.
        boundaries: For each record or block, where it ends, and how many packets there are then.
    """

    name: str
    content: bytes
    opens: int
    boundaries: list[tuple[int, int]]


def _joined(name: str, head: bytes, pieces: list[tuple[bytes, int]]) -> Sample:
    ends = list(itertools.accumulate((len(piece) for piece, _ in pieces), initial=len(head)))
    counts = list(itertools.accumulate((packets for _, packets in pieces), initial=0))
    content = head + b"".join(piece for piece, _ in pieces)
    return Sample(name, content, len(head), list(zip(ends, counts, strict=True)))


def _pcap(name: str, order: ByteOrder, precision: Precision, *, modified: bool = False) -> Sample:
    magic = {"micro": 0xA1B2C3D4, "nano": 0xA1B23C4D}[precision]
    head = pcap_header(order=order, magic=0xA1B2CD34 if modified else magic, snaplen=65535)
    pieces = [
        pcap_record(
            Record(_TIME_NS + number, data, len(data) + number),
            order=order,
            precision=precision,
            modified=modified,
        )
        for number, data in enumerate(_DATA)
    ]
    return _joined(name, head, [(piece, 1) for piece in pieces])


def _pcapng(name: str, order: ByteOrder) -> Sample:
    # Without an interface a file is complete, and empty.
    head = ng.section(order=order)
    described = ng.interface(order=order, snaplen=65535, tsresol=9, tsoffset=3600, name="eth0")
    sign = "<" if order == "little" else ">"
    obsolete = struct.pack(sign + "HHIIII", 1, 0, 0, 7, 5, 9) + b"12345"
    pieces = [
        (described, 0),
        (ng.enhanced_packet(b"first", _TIME_NS, order=order, wire_length=9), 1),
        (ng.interface(order=order, snaplen=96), 0),
        (ng.simple_packet(b"simple", order=order), 1),
        (ng.block(5, bytes(12), order=order), 0),
        (ng.enhanced_packet(b"", 1, order=order, interface_id=1), 1),
        (ng.block(2, obsolete, order=order), 1),
        (ng.section(order=order), 0),
        (ng.interface(order=order, tsresol=0x80 | 30), 0),
        (ng.enhanced_packet(b"last", 5 << 29, order=order, options=ng.option(1, b"c")), 1),
    ]
    return _joined(name, head, pieces)


SAMPLES = [
    _pcap("micro little", "little", "micro"),
    _pcap("nano big", "big", "nano"),
    _pcap("modified little", "little", "micro", modified=True),
    _pcap("modified big", "big", "micro", modified=True),
    _pcapng("pcapng little", "little"),
    _pcapng("pcapng big", "big"),
]
