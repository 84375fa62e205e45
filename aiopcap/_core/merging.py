"""Merging batches of several sources in the order of their time stamps."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from aiopcap._core.batch import PacketBatch, RawColumns, RawData
from aiopcap._core.columns import Columns, new_uncleared
from aiopcap._core.linktype import LinkType
from aiopcap._native import ffi, lib

# The most packets that are copied to one batch, and the bytes that such batches are cut from.
MERGED_PACKETS = 4096
ARENA_BYTES = 512 * 1024

# The least of it that is begun with; what is larger is not copied.
LEAST_ROOM = 64 * 1024

# So many packets of one source after the other are not copied, but a slice of their batch: making
# one costs as much as copying these.
LONG_RUN = 64


# What a batch takes beside its packets' bytes, roughly.
BATCH_BYTES = 1024

# A batch for where there is none yet.
NOTHING = PacketBatch(
    RawData(b"", 0, 0),
    RawColumns(b"", b"", b"", b"", None),
    LinkType.NULL,
    None,
    first=0,
    count=0,
)


class Naming:
    """The numbers of interfaces in merged batches, and their names."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        # Batches refer to it: it only grows.
        self.names: dict[int, str] = {}

    def number(self, name: str) -> int:
        """Return the number of a name."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names[number] = name
        return number


class Lane:
    """What was read from one source and is not merged yet.

    Args:
        naming: The merge's.
        name: What packets are said to come from that say nothing themselves.
        prefix: What is put before the name that a packet has by itself.

    Attributes:
        nbytes: The memory that the batches take, roughly.
    """

    def __init__(self, naming: Naming, name: str, prefix: str) -> None:
        self._naming = naming
        self._name = name
        self._prefix = prefix
        self._number = naming.number(name)
        self._batches: deque[tuple[PacketBatch, float]] = deque()
        self._position = 0
        self.nbytes = 0
        self._native: Any = None
        self._known: dict[int, str] = {}
        self._renaming: Any = ((), ())

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self._batches)

    @property
    def read_at(self) -> float:
        """When the first batch was read."""
        return self._batches[0][1]

    def add(self, batch: PacketBatch, read_at: float) -> None:
        """Put a batch behind the others.

        Args:
            batch: With one packet at the least.
            read_at: The time, on any clock.
        """
        self._batches.append((self._renamed(batch), read_at))
        self.nbytes += BATCH_BYTES + batch._data.size

    # -- for the merge ---------------------------------------------------------------------------

    @property
    def linktype(self) -> LinkType:
        """What the first batch's packets begin with."""
        return self._batches[0][0].linktype

    @property
    def has_options(self) -> bool:
        """Whether one of them has options."""
        return self._batches[0][0]._columns.options_lengths is not None

    def native(self) -> tuple[Any, ...]:
        """Return the members of what C calls a lane."""
        if self._native is None:
            self._native = self._batches[0][0]._native()
        return (self._native[0], self._position, self.linktype, self._number)

    def take(self, count: int | None = None) -> PacketBatch:
        """Return so many packets of the first batch, or all that it has left."""
        batch, start = self._batches[0][0], self._position
        end = len(batch) if count is None else start + count
        self.go_to(end)
        return batch[start:end]

    def go_to(self, position: int) -> None:
        """Count the first batch's packets before a position as merged."""
        self._position = position
        batch = self._batches[0][0]
        if position == len(batch):
            self._batches.popleft()
            self.nbytes -= BATCH_BYTES + batch._data.size
            self._position, self._native = 0, None

    # -- names -----------------------------------------------------------------------------------

    def _renamed(self, batch: PacketBatch) -> PacketBatch:
        own, numbers = batch._interface, batch._columns.interfaces
        if numbers is None or not isinstance(own, dict):
            return batch._renamed(self._name, None)
        if own is not self._known or len(own) != len(self._renaming[0]):
            self._know(own)
        known, names = self._renaming
        column = ffi.from_buffer("uint32_t[]", numbers)
        renamed = ffi.new("uint32_t[]", len(column))
        lib.aiopcap_renumber(column, len(column), known, names, len(known), self._number, renamed)
        return batch._renamed(self._naming.names, bytes(ffi.buffer(renamed)))

    def _know(self, own: dict[int, str]) -> None:
        numbers = sorted(own)
        names = [self._naming.number(self._prefix + own[number]) for number in numbers]
        self._known = own
        self._renaming = (ffi.new("uint32_t[]", numbers), ffi.new("uint32_t[]", names))


class Merger:
    """Merges, with room for what it copies."""

    def __init__(self) -> None:
        self._naming = Naming()
        self._columns = Columns(MERGED_PACKETS)
        self._room = 0
        self._arena: Any = b""

    def lane(self, name: str, prefix: str) -> Lane:
        """Make one for another source."""
        return Lane(self._naming, name, prefix)

    def merge(self, lanes: Sequence[Lane]) -> PacketBatch:
        """Return the packets that come next, at the least one.

        It ends where a lane's batch ends at the latest, as what comes next is not known then.

        Args:
            lanes: One or more, none of them empty. Where times are equal, the first one is first.
        """
        if len(lanes) == 1:
            return lanes[0].take()
        if self._room < LEAST_ROOM:
            self._take_arena()
        start = len(self._arena) - self._room
        columns = self._columns.native
        columns.data, columns.size = self._memory + start, self._room
        first, run = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        native = ffi.new("aiopcap_lane[]", [lane.native() for lane in lanes])
        status = lib.aiopcap_merge(native, len(lanes), LONG_RUN, columns, first, run)
        if status < 0:
            raise ValueError("a packet's bytes are outside the batch's data")
        earliest: Lane = lanes[first[0]]
        if columns.count == 0:
            return earliest.take(run[0])
        self._room -= columns.used
        linktype = earliest.linktype
        options = any(lane.has_options for lane in lanes)
        for lane, merged in zip(lanes, native, strict=True):
            lane.go_to(merged.position)
        data = RawData(self._arena, start, columns.used)
        return self._columns.batch(data, linktype, self._naming.names, options=options)

    def _take_arena(self) -> None:
        # Batches refer to it, one behind the other, so it is never written twice.
        self._room = ARENA_BYTES
        self._memory: Any = new_uncleared("uint8_t[]", ARENA_BYTES)
        self._arena = ffi.buffer(self._memory, ARENA_BYTES)
