"""pcapng: what is written of sections, interfaces, packets and statistics.

The blocks are those of https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html, in this
machine's byte order.
"""

import struct
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.filter import check_snaplen
from aiopcap._core.interfaces import (
    INTERFACE_FILTER,
    INTERFACE_TEXTS,
    STATISTICS_COUNTS,
    STATISTICS_TIMES,
    TIME_RESOLUTION,
    Interface,
    InterfaceStatistics,
)
from aiopcap._core.linktype import LinkType, linktype_to_file
from aiopcap._core.options import OPTION_COMMENT, format_options
from aiopcap._core.packet import Packet
from aiopcap._core.savefileformat import CheckedBatch, Key, check_fields, check_rows
from aiopcap._native import ffi, lib

MAX_TIMESTAMP_NS = 2**63 - 1

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_STATISTICS = 5
_ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LENGTH_NOT_GIVEN = -1
_APPLICATION = 4
_END_OF_OPTIONS = bytes(4)

_DIGITS = {"nano": 9, "micro": 6}

_PACKET_HEAD = struct.Struct("=IIIIIII")
_LENGTH = struct.Struct("=I")
_COUNT = struct.Struct("=Q")


def _block(kind: int, body: bytes) -> bytes:
    length = _LENGTH.pack(12 + len(body))
    return _LENGTH.pack(kind) + length + body + length


def _ended(options: bytes) -> bytes:
    return options + _END_OF_OPTIONS if options else b""


@dataclass(frozen=True, slots=True)
class PcapngFormat:
    """What a pcapng file is to have, checked.

    Attributes:
        linktype: Of packets that do not say what they begin with; None where all do.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
        interfaces: What is known of interfaces, for those of whom packets come.
        comments: On each section.
    """

    linktype: LinkType | None
    snaplen: int
    precision: str
    interfaces: tuple[Interface, ...] = ()
    comments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_snaplen(self.snaplen)
        if self.precision not in _DIGITS:
            raise ValueError(f"precision is 'nano' or 'micro', not {self.precision!r}")
        if self.linktype is not None:
            _check_linktype(self.linktype)
        # What does not fit is refused before the file is opened.
        self.header()
        for interface in self.interfaces:
            _check_linktype(interface.linktype)
            self.describe((interface.name, interface.linktype), interface)

    @property
    def name(self) -> str:
        """The format's."""
        return "pcapng"

    def header(self) -> bytes:
        """Return a Section Header Block."""
        body = struct.pack("=IHHq", _BYTE_ORDER_MAGIC, 1, 0, _LENGTH_NOT_GIVEN)
        application = f"aiopcap {version('aiopcap')}"
        options = [(OPTION_COMMENT, comment.encode()) for comment in self.comments]
        options.append((_APPLICATION, application.encode()))
        return _block(_SECTION, body + _ended(format_options(options)))

    def describe(self, key: Key, interface: Interface | None) -> bytes:
        """Return an Interface Description Block."""
        name, linktype = key
        snaplen = self.snaplen if interface is None else interface.snaplen
        texts = {"name": name}
        options: list[tuple[int, bytes]] = [(TIME_RESOLUTION, bytes([_DIGITS[self.precision]]))]
        if interface is not None:
            texts |= {of: getattr(interface, of) for of in INTERFACE_TEXTS.values()}
            options += [(OPTION_COMMENT, comment.encode()) for comment in interface.comments]
            if interface.filter is not None:
                options.append((INTERFACE_FILTER, b"\0" + interface.filter.encode()))
        for code, of in INTERFACE_TEXTS.items():
            if (text := texts.get(of)) is not None:
                options.append((code, text.encode(errors="replace")))
        body = struct.pack("=HHI", linktype_to_file(linktype), 0, snaplen)
        return _block(_INTERFACE, body + _ended(format_options(sorted(options))))

    def encoder(self) -> "PcapngEncoder":
        """Return what writes packets to such a file."""
        return PcapngEncoder(self)

    def key(self, linktype: LinkType | None, name: str | None) -> Key:
        """Return what an interface is known by.

        Raises:
            ValueError: If it is not known what its packets begin with.
        """
        linktype = self.linktype if linktype is None else linktype
        if linktype is None:
            raise ValueError("neither the packet nor the dumper says what it begins with")
        _check_linktype(linktype)
        return name, linktype

    def check(self, packet: Packet) -> None:
        """Raise ValueError where a packet cannot be written as it is."""
        check_fields(packet, self.snaplen, MAX_TIMESTAMP_NS)
        self.key(packet.linktype, packet.interface)

    def check_batch(self, batch: PacketBatch) -> CheckedBatch:
        """Return a batch as C takes it; raises ValueError where a packet cannot be written."""
        checked = check_rows(batch, lib.aiopcap_check_block_rows, self.snaplen, MAX_TIMESTAMP_NS)
        names = batch._interface_names()
        keys = tuple(self.key(batch.linktype, name) for name in names.values())
        return checked._replace(keys=keys, numbers=tuple(names))


class PcapngEncoder:
    """Writes packets as Enhanced Packet Blocks, and before them the interfaces that they name.

    Args:
        format: Of the file.
    """

    least_bytes = _PACKET_HEAD.size + _LENGTH.size

    def __init__(self, format: PcapngFormat) -> None:
        self._format = format
        self._nanoseconds = format.precision == "nano"
        self._divisor = 1 if self._nanoseconds else 1000
        self._known: dict[Key, Interface] = {
            (known.name, known.linktype): known for known in format.interfaces
        }
        self._blocks: dict[Key, bytes] = {}
        self._ids: dict[Key, int] = {}

    def begin_file(self) -> None:
        """Forget which interfaces were described."""
        self._ids.clear()

    def keys(self, packet: Packet) -> tuple[Key, ...]:
        """Return the interface of a packet."""
        return (self._format.key(packet.linktype, packet.interface),)

    def description_bytes(self, keys: tuple[Key, ...], *, missing: bool = False) -> int:
        """Return how many bytes it takes to describe interfaces: all, or those that are not yet."""
        return sum(len(self._block(key)) for key in keys if not (missing and key in self._ids))

    def describe(self, keys: tuple[Key, ...]) -> bytes:
        """Return what has to come before packets of these interfaces; it counts as written."""
        parts = []
        for key in keys:
            if key not in self._ids:
                self._ids[key] = len(self._ids)
                parts.append(self._block(key))
        return b"".join(parts)

    def _block(self, key: Key) -> bytes:
        if key not in self._blocks:
            self._blocks[key] = self._format.describe(key, self._known.get(key))
        return self._blocks[key]

    def size(self, packet: Packet) -> int:
        """Return how many bytes a packet's block has."""
        captured, options = len(packet), len(_ended(packet._options or b""))
        return _PACKET_HEAD.size + captured + -captured % 4 + options + _LENGTH.size

    def row_size(self, checked: CheckedBatch, row: int) -> int:
        """Return how many bytes a row's block has."""
        return int(lib.aiopcap_block_length(checked.native, row))

    def put(self, packet: Packet, out: bytearray, at: int) -> int:
        """Write a block; returns where it ends."""
        [key] = self.keys(packet)
        total, captured = self.size(packet), len(packet)
        high, low = divmod(packet.timestamp_ns // self._divisor, 2**32)
        lengths = captured, packet.wire_length
        fields = (_ENHANCED_PACKET, total, self._ids[key], high, low, *lengths)
        _PACKET_HEAD.pack_into(out, at, *fields)
        rest = packet.data + bytes(-captured % 4) + _ended(packet._options or b"")
        start, end = at + _PACKET_HEAD.size, at + total - _LENGTH.size
        out[start:end] = rest
        _LENGTH.pack_into(out, end, total)
        return at + total

    def put_rows(
        self, checked: CheckedBatch, first: int, end: int, out: Any, room: int, used: Any
    ) -> int:
        """Write blocks of a batch while they fit; returns the row after them."""
        batch_numbers = ffi.new("uint32_t[]", checked.numbers)
        file_numbers = ffi.new("uint32_t[]", [self._ids[key] for key in checked.keys])
        numbering = ffi.new(
            "aiopcap_numbering *", (batch_numbers, file_numbers, len(checked.numbers))
        )
        return int(
            lib.aiopcap_encode_blocks(
                checked.native, first, end, numbering, self._nanoseconds, out, room, used
            )
        )

    def statistics(
        self, linktype: LinkType | None, name: str | None, statistics: InterfaceStatistics
    ) -> tuple[tuple[Key, ...], bytes]:
        """Return an interface, and what is written of its counters once it is described."""
        key = self._format.key(linktype, name)
        options = []
        for code, of in (STATISTICS_TIMES | STATISTICS_COUNTS).items():
            if (number := getattr(statistics, of)) is not None:
                if not 0 <= number < 2**64:
                    raise ValueError(f"{of} does not fit in 64 bits: {number}")
                value = self._ticks(number) if code in STATISTICS_TIMES else _COUNT.pack(number)
                options.append((code, value))
        body = _LENGTH.pack(self._ids.get(key, 0)) + self._ticks(statistics.timestamp_ns)
        return (key,), _block(_STATISTICS, body + _ended(format_options(options)))

    def _ticks(self, ns: int) -> bytes:
        return struct.pack("=II", *divmod(ns // self._divisor, 2**32))

    def whole(self, records: Any, length: int) -> int:
        """Return how many of so many bytes are whole blocks."""
        return int(lib.aiopcap_whole_blocks(records, length))


def _check_linktype(linktype: LinkType) -> None:
    if linktype_to_file(linktype) > 0xFFFF:
        raise ValueError(f"link type {linktype} has no number in savefiles")
