"""Packets kept in memory, as bytes and columns and not as objects."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from typing import Any

from aiopcap._core.batch import NO_INTERFACE, PacketBatch, RawColumns, RawData
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._core.sender import Frame
from aiopcap._core.transmission import RECORD_HEADER_BYTES, Piece
from aiopcap._native import lib

# A tail of this size becomes a batch.
TAIL_BYTES = 1024 * 1024

# A batch is kept as it is when it has so many packets, and these are most of the memory that it
# refers to; otherwise its packets are copied.
LEAST_KEPT = 256


# The most frames that are joined to one batch; its offsets have 32 bits, and a frame 64 KiB.
JOINED = 16384


def joined(frames: Iterable[Frame]) -> Iterator[PacketBatch]:
    """Copy frames to batches, without their times: for what is sent at once."""
    iterator = iter(frames)
    while taken := list(islice(iterator, JOINED)):
        data = b"".join(taken)
        lengths = array("I", map(len, taken))
        if sum(lengths) != len(data):
            # A view of larger items counts these, and not its bytes.
            lengths = array("I", (memoryview(frame).nbytes for frame in taken))
        offsets = array("I", accumulate(lengths, initial=0))[:-1]
        raw = lengths.tobytes()
        columns = RawColumns(bytes(8 * len(taken)), offsets.tobytes(), raw, raw, None)
        yield _batch(data, columns, None, None)


def _batch(
    data: bytes,
    columns: RawColumns,
    linktype: LinkType | None,
    interfaces: dict[int, str] | None,
) -> PacketBatch:
    count = len(columns.offsets) // 4
    # Frames that came as bytes do not say what they begin with.
    kind: Any = linktype
    return PacketBatch(RawData(data, 0, len(data)), columns, kind, interfaces, first=0, count=count)


class _Tail:
    """The packets added last, which still grow; of one link type."""

    def __init__(self, linktype: LinkType | None) -> None:
        self.linktype = linktype
        self.data = bytearray()
        self._timestamps_ns = array("q")
        self._offsets = array("I")
        self._captured_lengths = array("I")
        self._wire_lengths = array("I")
        self._interfaces = array("I")
        self._numbers: dict[str | None, int] = {None: NO_INTERFACE}

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, packet: Packet, timestamp_ns: int) -> None:
        # What may raise comes first: a time beyond 64 bits must leave nothing behind.
        self._timestamps_ns.append(timestamp_ns)
        self._wire_lengths.append(packet.wire_length)
        self._offsets.append(len(self.data))
        self._captured_lengths.append(len(packet))
        name = packet.interface
        self._interfaces.append(self._numbers.setdefault(name, len(self._numbers)))
        self.data += packet.data

    def packet(self, row: int) -> Packet:
        start, number = self._offsets[row], self._interfaces[row]
        return Packet(
            self.data[start : start + self._captured_lengths[row]],
            timestamp_ns=self._timestamps_ns[row],
            wire_length=self._wire_lengths[row],
            linktype=self.linktype,
            interface=next(name for name, of in self._numbers.items() if of == number),
        )

    def batch(self) -> PacketBatch:
        names = {number: name for name, number in self._numbers.items() if name is not None}
        columns = RawColumns(
            self._timestamps_ns.tobytes(),
            self._offsets.tobytes(),
            self._captured_lengths.tobytes(),
            self._wire_lengths.tobytes(),
            self._interfaces.tobytes() if names else None,
        )
        return _batch(bytes(self.data), columns, self.linktype, names or None)


class PacketStore:
    """A sequence of packets that grows at its end.

    Args:
        last_timestamp_ns: The time of what comes first, where that has none.
    """

    def __init__(self, last_timestamp_ns: int = 0) -> None:
        self._batches: list[PacketBatch] = []
        self._starts: list[int] = []
        self._sealed = 0
        self._tail = _Tail(None)
        self.nbytes = 0
        self.linktypes: set[LinkType] = set()
        self.last_timestamp_ns = last_timestamp_ns

    def __len__(self) -> int:
        return self._sealed + len(self._tail)

    @property
    def queue_nbytes(self) -> int:
        """The bytes with WinPcap's header for each packet."""
        return self.nbytes + self.header_nbytes(len(self))

    @staticmethod
    def header_nbytes(packets: int) -> int:
        """Return what WinPcap counts beside the bytes of so many packets."""
        return RECORD_HEADER_BYTES * packets

    def append(self, frame: Frame, timestamp_ns: int | None = None) -> None:
        """Add one.

        Args:
            frame: A packet, or bytes.
            timestamp_ns: Its time; else the packet's own, else that of the one before it.
        """
        if isinstance(frame, Packet):
            packet, when = frame, frame.timestamp_ns
        else:
            packet, when = Packet(frame), self.last_timestamp_ns
        when = when if timestamp_ns is None else timestamp_ns
        self._tail_for(packet.linktype).append(packet, when)
        self.last_timestamp_ns = when
        self.nbytes += len(packet)
        if packet.linktype is not None:
            self.linktypes.add(packet.linktype)

    def extend(self, batch: PacketBatch) -> None:
        """Add all packets of a batch; a large one is kept and not copied."""
        nbytes = batch.nbytes
        if len(batch) < LEAST_KEPT or 2 * nbytes < batch._data.size:
            for packet in batch:
                self.append(packet)
            return
        self._seal()
        self._add(batch)
        self.nbytes += nbytes
        self.last_timestamp_ns = batch.timestamps_ns[-1]
        if batch.linktype is not None:
            self.linktypes.add(batch.linktype)

    def check_order(self, start: int) -> None:
        """Check that time stamps do not go backwards, from a packet on.

        Raises:
            ValueError: If they do; it says where.
        """
        before = -(2**63)
        for piece in self.pieces(start):
            native, keep = piece.batch._native()
            row = lib.aiopcap_first_disorder(native, piece.first, before)
            if row < len(piece.batch):
                raise ValueError(
                    f"the time stamp of packet {piece.index + row} is before that of the packet "
                    "before it"
                )
            before = piece.batch.timestamps_ns[-1]
            del keep

    def packet(self, index: int) -> Packet:
        """Return the packet of that number, from 0 on."""
        if index >= self._sealed:
            return self._tail.packet(index - self._sealed)
        which = bisect_right(self._starts, index) - 1
        return self._batches[which][index - self._starts[which]]

    def __iter__(self) -> Iterator[Packet]:
        for batch in list(self._batches):
            yield from batch
        yield from self._tail.batch()

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Return what a transmission takes, from a packet on."""
        batches: Iterable[tuple[int, PacketBatch]] = zip(
            [*self._starts, self._sealed], [*self._batches, self._tail.batch()], strict=True
        )
        begins = True
        for index, batch in batches:
            if start < index + len(batch):
                yield Piece(batch, max(0, start - index), index, begins)
                begins = False

    def _tail_for(self, linktype: LinkType | None) -> _Tail:
        if self._tail.linktype != linktype or len(self._tail.data) >= TAIL_BYTES:
            self._seal()
            self._tail.linktype = linktype
        return self._tail

    def _seal(self) -> None:
        if len(self._tail):
            self._add(self._tail.batch())
        self._tail = _Tail(None)

    def _add(self, batch: PacketBatch) -> None:
        self._starts.append(self._sealed)
        self._batches.append(batch)
        self._sealed += len(batch)
