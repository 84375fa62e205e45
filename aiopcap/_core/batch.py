"""Many packets at once: columns over one buffer."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, final, overload

from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._native import Rows, ffi, lib

# A row's interface number where its source does not say.
NO_INTERFACE: int = lib.AIOPCAP_NO_INTERFACE


@final
class PacketBatch(Sequence[Packet]):
    """A sequence of packets that share a buffer, as one native call read them.

    Indexing and iterating make `Packet` objects; the columns give the same without one object per
    packet. All columns support the buffer protocol: `numpy.asarray(batch.timestamps_ns)` copies
    nothing. A batch owns its memory and stays valid for as long as something refers to it.

    Attributes:
        data: The buffer; packet i is `data[offsets[i] : offsets[i] + captured_lengths[i]]`. There
            may be other bytes between packets.
        timestamps_ns: int64, nanoseconds since 1970-01-01 00:00 UTC.
        offsets: uint32, in bytes.
        captured_lengths: uint32, in bytes.
        wire_lengths: uint32, in bytes.
        linktype: What every packet begins with.
    """

    __slots__ = (
        "_interface",
        "_interfaces",
        "captured_lengths",
        "data",
        "linktype",
        "offsets",
        "timestamps_ns",
        "wire_lengths",
    )

    def __init__(
        self,
        data: memoryview,
        linktype: LinkType,
        timestamps_ns: memoryview,
        offsets: memoryview,
        captured_lengths: memoryview,
        wire_lengths: memoryview,
        *,
        interface: dict[int, str] | str | None = None,
        interfaces: memoryview | None = None,
    ) -> None:
        self.data: memoryview = data
        self.timestamps_ns: memoryview = timestamps_ns
        self.offsets: memoryview = offsets
        self.captured_lengths: memoryview = captured_lengths
        self.wire_lengths: memoryview = wire_lengths
        self.linktype: LinkType = linktype
        self._interface = interface
        self._interfaces = interfaces

    @property
    def interfaces(self) -> Sequence[str | None]:
        """The device that each packet came from, where known."""
        if self._interfaces is None or not isinstance(self._interface, dict):
            return [None if isinstance(self._interface, dict) else self._interface] * len(self)
        return [self._interface.get(number) for number in self._interfaces]

    @property
    def interface_names(self) -> dict[int, str] | str | None:
        """The one device of all packets, or the names behind `interface_numbers`."""
        return self._interface

    @property
    def interface_numbers(self) -> memoryview | None:
        """uint32, the device of each packet as its source numbers it; None where there is one."""
        return self._interfaces

    @property
    def nbytes(self) -> int:
        """How many captured bytes the packets have together."""
        return sum(self.captured_lengths)

    def rows(self) -> "Rows[Packet]":
        """Return the native iterator over the packets."""
        return Rows(
            Packet,
            len(self.timestamps_ns),
            self.data,
            self.timestamps_ns,
            self.offsets,
            self.captured_lengths,
            self.wire_lengths,
            self.linktype,
            self._interface,
            self._interfaces,
        )

    def native(self) -> Any:
        """Return the batch as C sees it, with what keeps its memory alive.

        C only reads it, whatever the types of the pointers say.
        """
        keep = [
            ffi.from_buffer(kind, column)
            for kind, column in (
                ("int64_t[]", self.timestamps_ns),
                ("uint32_t[]", self.offsets),
                ("uint32_t[]", self.captured_lengths),
                ("uint32_t[]", self.wire_lengths),
                ("uint8_t[]", self.data),
            )
        ]
        batch = ffi.new("aiopcap_batch *")
        batch.timestamps_ns, batch.offsets, batch.captured_lengths, batch.wire_lengths = keep[:4]
        batch.data = keep[4]
        batch.used = batch.size = len(self.data)
        batch.count = batch.capacity = len(self)
        return batch, keep

    def __len__(self) -> int:
        return len(self.timestamps_ns)

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> "PacketBatch": ...
    def __getitem__(self, index: int | slice) -> "Packet | PacketBatch":
        if isinstance(index, slice):
            return self._slice(index)
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"packet {position} of a batch of {len(self)}")
        return self.rows().packet(position % len(self))

    def _slice(self, index: slice) -> "PacketBatch":
        def part(column: memoryview) -> memoryview:
            taken = column[index]
            if taken.c_contiguous:
                return taken
            return memoryview(taken.tobytes()).cast(taken.format)  # type: ignore[call-overload, no-any-return]

        return PacketBatch(
            self.data,
            self.linktype,
            part(self.timestamps_ns),
            part(self.offsets),
            part(self.captured_lengths),
            part(self.wire_lengths),
            interface=self._interface,
            interfaces=None if self._interfaces is None else part(self._interfaces),
        )

    def __iter__(self) -> Iterator[Packet]:
        return self.rows()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PacketBatch):
            return NotImplemented
        return len(self) == len(other) and all(map(Packet.__eq__, self, other))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        columns = (
            self.timestamps_ns,
            self.offsets,
            self.captured_lengths,
            self.wire_lengths,
        )
        raw = [column.tobytes() for column in columns]
        numbers = None if self._interfaces is None else self._interfaces.tobytes()
        return (_restore, (self.data.tobytes(), self.linktype, raw, self._interface, numbers))

    def __repr__(self) -> str:
        return f"<PacketBatch of {len(self)} packets, {self.linktype.name}>"


def _column(raw: bytes, code: str) -> memoryview:
    return memoryview(raw).cast(code)  # type: ignore[call-overload, no-any-return]


def _restore(
    data: bytes,
    linktype: LinkType,
    raw: list[bytes],
    interface: dict[int, str] | str | None,
    numbers: bytes | None,
) -> PacketBatch:
    timestamps_ns, offsets, captured_lengths, wire_lengths = raw
    return PacketBatch(
        memoryview(data),
        linktype,
        _column(timestamps_ns, "q"),
        _column(offsets, "I"),
        _column(captured_lengths, "I"),
        _column(wire_lengths, "I"),
        interface=interface,
        interfaces=None if numbers is None else _column(numbers, "I"),
    )
