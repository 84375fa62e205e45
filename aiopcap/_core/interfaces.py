"""What a pcapng file tells of its sections and interfaces."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiopcap._core.linktype import LinkType, linktype_from_file
from aiopcap._core.options import Option, comments_of, parse_options

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_STATISTICS = 5

# What is kept, so that no file fills the memory: interfaces, sections, bytes of their options.
_MOST = 65536
_MOST_OPTIONS_BYTES = 16 * 1024 * 1024

_BYTE_ORDER_MAGIC = b"\x1a\x2b\x3c\x4d"

# https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html, sections 4.1, 4.2 and 4.6
_SECTION_TEXTS = {2: "hardware", 3: "os", 4: "application"}
INTERFACE_TEXTS = {2: "name", 3: "description", 12: "os", 15: "hardware"}
TIME_RESOLUTION = 9
INTERFACE_FILTER = 11
_TIME_OFFSET = 14
STATISTICS_TIMES = {2: "start_ns", 3: "end_ns"}
STATISTICS_COUNTS = {
    4: "received",
    5: "if_dropped",
    6: "filter_accepted",
    7: "dropped",
    8: "delivered",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a pcapng file.

    Attributes:
        byte_order: "little" or "big".
        hardware: What the file was written on, where it says so.
        os: The operating system of it.
        application: The program that wrote it.
        options: All that is said of the section, these texts and its comments included; numbers
            in their values are in the section's byte order.
    """

    byte_order: str
    hardware: str | None = None
    os: str | None = None
    application: str | None = None
    options: tuple[Option, ...] = ()

    @property
    def comments(self) -> tuple[str, ...]:
        """The comments on the section."""
        return comments_of(self.options)


@dataclass(frozen=True, slots=True)
class InterfaceStatistics:
    """What an interface counted, as a pcapng file says; None where it does not.

    Attributes:
        timestamp_ns: When it was counted, in nanoseconds since 1970, as the others.
        start_ns: When the capture began.
        end_ns: When it ended.
        received: Packets that came.
        if_dropped: Packets that the interface dropped, for want of resources.
        filter_accepted: Packets that passed the filter.
        dropped: Packets that the operating system dropped.
        delivered: Packets that were given to the user.
    """

    timestamp_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    received: int | None = None
    if_dropped: int | None = None
    filter_accepted: int | None = None
    dropped: int | None = None
    delivered: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a pcapng file.

    Attributes:
        name: Its name, or its number in the section where it has none.
        section: The number of its section in the file, from 0.
        linktype: What its packets begin with.
        snaplen: The most bytes of a packet; 0 where there is no limit.
        ticks_per_second: The resolution of its time stamps.
        offset_seconds: What was added to its time stamps.
        description: In words.
        filter: The expression that its packets passed.
        hardware: What the interface is.
        os: The operating system of the machine.
        statistics: What it counted, as the file said last.
        options: All that is said of it, these included; numbers in their values are in the
            section's byte order.
    """

    name: str
    section: int
    linktype: LinkType
    snaplen: int
    ticks_per_second: int = 1_000_000
    offset_seconds: int = 0
    description: str | None = None
    filter: str | None = None
    hardware: str | None = None
    os: str | None = None
    statistics: InterfaceStatistics | None = None
    options: tuple[Option, ...] = ()

    @property
    def comments(self) -> tuple[str, ...]:
        """The comments on the interface."""
        return comments_of(self.options)

    def _time_ns(self, ticks: int) -> int:
        return ticks * 1_000_000_000 // self.ticks_per_second + self.offset_seconds * 1_000_000_000


class Descriptions:
    """The sections and interfaces of a file, as its blocks come.

    Attributes:
        sections: The first 65536.
        interfaces: The first 65536, of all sections.
        names: The interfaces' names by their numbers, in the section that was fed last.
    """

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.interfaces: list[Interface] = []
        self.names: dict[int, str] = {}
        self._first = 0
        self._section_number = -1
        self._order = "="
        self._room = _MOST_OPTIONS_BYTES

    def feed(self, blocks: bytes) -> None:
        """Take whole blocks, which the native parser found sound."""
        handlers: dict[int, Callable[[bytes], None]] = {
            _SECTION: self._section,
            _INTERFACE: self._interface,
            _STATISTICS: self._statistics,
        }
        at = 0
        while at < len(blocks):
            if blocks[at : at + 4] == b"\n\r\r\n":
                self._order = ">" if blocks[at + 8 : at + 12] == _BYTE_ORDER_MAGIC else "<"
            kind, length = self._unpack("II", blocks, at)
            handlers[kind](blocks[at + 8 : at + length - 4])
            at += length

    def _unpack(self, format: str, data: bytes, at: int = 0) -> tuple[Any, ...]:
        return struct.unpack_from(self._order + format, data, at)

    def _options(self, raw: bytes) -> tuple[Option, ...]:
        self._room -= len(raw)
        return tuple(parse_options(raw, self._order)) if self._room >= 0 else ()

    def _section(self, body: bytes) -> None:
        options = self._options(body[16:])
        order = "big" if self._order == ">" else "little"
        texts = _texts(options, _SECTION_TEXTS)
        if len(self.sections) < _MOST:
            self.sections.append(Section(order, options=options, **texts))
        self._section_number += 1
        self._first += len(self.names)
        # Not the old one cleared: batches have it.
        self.names = {}

    def _interface(self, body: bytes) -> None:
        number, _, snaplen = self._unpack("HHI", body)
        options = self._options(body[8:])
        more: dict[str, Any] = _texts(options, INTERFACE_TEXTS)
        for code, value in options:
            if code == TIME_RESOLUTION and len(value) == 1:
                base = 2 if value[0] & 0x80 else 10
                more["ticks_per_second"] = base ** (value[0] & 0x7F)
            elif code == _TIME_OFFSET and len(value) == 8:
                [more["offset_seconds"]] = self._unpack("q", value)
            elif code == INTERFACE_FILTER and value[:1] == b"\0":
                more["filter"] = value[1:].decode(errors="replace")
        name = more.setdefault("name", str(len(self.names)))
        self.names[len(self.names)] = name
        if len(self.interfaces) < _MOST:
            linktype = linktype_from_file(number)
            self.interfaces.append(
                Interface(
                    section=self._section_number,
                    linktype=linktype,
                    snaplen=snaplen,
                    options=options,
                    **more,
                )
            )

    def _statistics(self, body: bytes) -> None:
        if len(body) < 12:
            return
        number, high, low = self._unpack("III", body)
        if self._first + number >= len(self.interfaces):
            return
        interface = self.interfaces[self._first + number]
        counted: dict[str, int] = {}
        for code, value in self._options(body[12:]):
            if len(value) != 8:
                continue
            if code in STATISTICS_TIMES:
                upper, lower = self._unpack("II", value)
                counted[STATISTICS_TIMES[code]] = interface._time_ns(upper << 32 | lower)
            elif code in STATISTICS_COUNTS:
                [counted[STATISTICS_COUNTS[code]]] = self._unpack("Q", value)
        statistics = InterfaceStatistics(interface._time_ns(high << 32 | low), **counted)
        self.interfaces[self._first + number] = replace(interface, statistics=statistics)


def _texts(options: tuple[Option, ...], names: dict[int, str]) -> dict[str, Any]:
    return {names[code]: value.decode(errors="replace") for code, value in options if code in names}
