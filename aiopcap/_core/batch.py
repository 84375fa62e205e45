"""Many packets at once: columns over one buffer."""

import operator
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, final, overload

from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._native import Rows, ffi, lib

# Looked up once: C asks for its view of a batch often.
_TIMES = ffi.typeof("int64_t[]")
_NUMBERS = ffi.typeof("uint32_t[]")
_BYTES = ffi.typeof("uint8_t[]")
_BATCH = ffi.typeof("aiopcap_batch *")

# A row's interface number where its source does not say.
NO_INTERFACE: int = lib.AIOPCAP_NO_INTERFACE


class RawColumns(NamedTuple):
    """The columns as bytes: of 8 bytes a packet the first, of 4 the others.

    A packet's options are in the data behind its bytes, from the next multiple of 4 on.

    C is given these and never memoryviews: CPython before 3.12.7 crashes when it collects a
    reference cycle with a memoryview that C holds a buffer of
    (https://github.com/python/cpython/issues/77894).
    """

    timestamps_ns: bytes
    offsets: bytes
    captured_lengths: bytes
    wire_lengths: bytes
    interfaces: bytes | None
    options_lengths: bytes | None = None


class RawData(NamedTuple):
    """A part of a buffer; for the buffer holds what was said of the columns."""

    buffer: Any
    start: int
    size: int


@final
class PacketBatch(Sequence[Packet]):
    """A sequence of packets that share a buffer, as one native call read them.

    Indexing and iterating make `Packet` objects; the columns give the same without one object per
    packet. All columns support the buffer protocol: `numpy.asarray(batch.timestamps_ns)` copies
    nothing. A batch owns its memory and stays valid for as long as something refers to it.
    """

    __slots__ = ("_columns", "_count", "_data", "_first", "_interface", "_linktype")

    def __init__(
        self,
        data: RawData,
        columns: RawColumns,
        linktype: LinkType,
        interface: dict[int, str] | str | None,
        *,
        first: int,
        count: int,
    ) -> None:
        self._data = data
        self._columns = columns
        self._linktype = linktype
        self._interface = interface
        self._first = first
        self._count = count

    # -- columns ---------------------------------------------------------------------------------

    @property
    def data(self) -> memoryview:
        """The buffer; packet i is `data[offsets[i] : offsets[i] + captured_lengths[i]]`.

        There may be other bytes between packets.
        """
        buffer, start, size = self._data
        return memoryview(buffer)[start : start + size].toreadonly()

    @property
    def timestamps_ns(self) -> memoryview:
        """int64, nanoseconds since 1970-01-01 00:00 UTC."""
        return self._column(self._columns.timestamps_ns, 8, "q")

    @property
    def offsets(self) -> memoryview:
        """uint32, in bytes."""
        return self._column(self._columns.offsets, 4, "I")

    @property
    def captured_lengths(self) -> memoryview:
        """uint32, in bytes."""
        return self._column(self._columns.captured_lengths, 4, "I")

    @property
    def wire_lengths(self) -> memoryview:
        """uint32, in bytes."""
        return self._column(self._columns.wire_lengths, 4, "I")

    @property
    def linktype(self) -> LinkType:
        """What every packet begins with."""
        return self._linktype

    @property
    def interfaces(self) -> Sequence[str | None]:
        """The device that each packet came from, where known."""
        numbers = self._columns.interfaces
        if numbers is None or not isinstance(self._interface, dict):
            return [None if isinstance(self._interface, dict) else self._interface] * self._count
        return [self._interface.get(number) for number in self._column(numbers, 4, "I")]

    @property
    def nbytes(self) -> int:
        """How many captured bytes the packets have together."""
        return sum(self.captured_lengths)

    def _column(self, raw: bytes, itemsize: int, code: str) -> memoryview:
        part = memoryview(raw)[self._first * itemsize : (self._first + self._count) * itemsize]
        # To mypy a format is a literal, and its items have one type.
        return part.cast(code)  # type: ignore[call-overload, no-any-return]

    # -- for the core ----------------------------------------------------------------------------

    def _rows(self) -> Rows:
        """Return the native iterator over the packets."""
        return Rows(
            self._first,
            self._count,
            *self._data,
            self._columns.timestamps_ns,
            self._columns.offsets,
            self._columns.captured_lengths,
            self._columns.wire_lengths,
            self._columns.interfaces,
            self._columns.options_lengths,
            self._linktype,
            self._interface,
        )

    def _native(self) -> Any:
        """Return the batch as C sees it, with what keeps its memory alive.

        C only reads it, whatever the types of the pointers say.
        """
        columns, data, first, count = self._columns, self._data, self._first, self._count
        times = ffi.from_buffer(_TIMES, columns.timestamps_ns)
        offsets = ffi.from_buffer(_NUMBERS, columns.offsets)
        captured = ffi.from_buffer(_NUMBERS, columns.captured_lengths)
        wire = ffi.from_buffer(_NUMBERS, columns.wire_lengths)
        interfaces, options = (
            ffi.NULL if column is None else ffi.from_buffer(_NUMBERS, column)
            for column in (columns.interfaces, columns.options_lengths)
        )
        frames = ffi.from_buffer(_BYTES, data.buffer)
        members = (
            times + first,
            offsets + first,
            captured + first,
            wire + first,
            interfaces and interfaces + first,
            options and options + first,
            count,
            count,
            frames + data.start,
            data.size,
            data.size,
        )
        keep = (times, offsets, captured, wire, interfaces, options, frames)
        return ffi.new(_BATCH, members), keep

    def _interface_names(self) -> dict[int, str | None]:
        """Return the interfaces' names by the numbers in the rows; one without a column."""
        numbers = self._columns.interfaces
        if numbers is None or not isinstance(self._interface, dict):
            return {NO_INTERFACE: None if isinstance(self._interface, dict) else self._interface}
        return {
            number: self._interface.get(number) for number in set(self._column(numbers, 4, "I"))
        }

    def _with_columns(self, columns: RawColumns, count: int) -> "PacketBatch":
        """Return a batch of other rows over the same data."""
        return PacketBatch(
            self._data, columns, self._linktype, self._interface, first=0, count=count
        )

    def _renamed(self, interface: dict[int, str] | str, numbers: bytes | None) -> "PacketBatch":
        """Return a batch of the same packets, with other names of where they came from."""
        columns = self._columns._replace(interfaces=numbers)
        return PacketBatch(
            self._data, columns, self._linktype, interface, first=self._first, count=self._count
        )

    # -- a sequence ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> "PacketBatch": ...
    def __getitem__(self, index: int | slice) -> "Packet | PacketBatch":
        if isinstance(index, slice):
            return self._slice(index)
        position = operator.index(index)
        if not -self._count <= position < self._count:
            raise IndexError(f"packet {position} of a batch of {self._count}")
        return self._rows().packet(position % self._count)

    def _slice(self, index: slice) -> "PacketBatch":
        start, stop, step = index.indices(self._count)
        if step == 1:
            return PacketBatch(
                self._data,
                self._columns,
                self._linktype,
                self._interface,
                first=self._first + start,
                count=max(0, stop - start),
            )
        return self._with_columns(self._raw(index), len(range(self._count)[index]))

    def _raw(self, index: slice = slice(None)) -> RawColumns:
        raw = (
            None if column is None else self._column(column, size, code)[index].tobytes()
            for column, size, code in zip(self._columns, (8, 4, 4, 4, 4, 4), "qIIIII", strict=True)
        )
        # As many as the class has fields: to mypy a generator has no length.
        return RawColumns(*raw)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Packet]:
        return self._rows()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PacketBatch):
            return NotImplemented
        return len(self) == len(other) and all(map(Packet.__eq__, self, other))

    # A hash would have to read every packet; the type of the base class says that there is one.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # Only what belongs to it: the buffer is shared with other batches.
        data, raw = self.data, self._raw()
        lengths: Sequence[int] = self.captured_lengths
        if raw.options_lengths is not None:
            options = memoryview(raw.options_lengths).cast("I")
            lengths = [
                length + -length % 4 + more for length, more in zip(lengths, options, strict=True)
            ]
        spans = zip(self.offsets, lengths, strict=True)
        packets = b"".join(data[offset : offset + length] for offset, length in spans)
        offsets = array("I", accumulate(lengths, initial=0))[: self._count]
        columns = raw._replace(offsets=offsets.tobytes())
        state = (RawData(packets, 0, len(packets)), columns, self._linktype, self._interface)
        return (_restore, (state, self._count))

    def __repr__(self) -> str:
        return f"<PacketBatch of {len(self)} packets, {self.linktype.name}>"


def _restore(state: tuple[Any, Any, Any, Any], count: int) -> PacketBatch:
    return PacketBatch(*state, first=0, count=count)
