"""The columns that a reader fills, call after call, and batches made of what it filled."""

from typing import Any

from aiopcap._core.batch import PacketBatch, RawColumns, RawData
from aiopcap._core.linktype import LinkType
from aiopcap._native import ffi

# Readers overwrite what they use: clearing it first would cost as much as reading.
new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

# By the columns' names: sizes where the class has the columns themselves.
_ITEM_BYTES = RawColumns(8, 4, 4, 4, 4, 4)  # type: ignore[arg-type]


class Columns:
    """Room for the rows of one call.

    Args:
        capacity: The most packets one call returns.
    """

    def __init__(self, capacity: int) -> None:
        self.native = ffi.new("aiopcap_batch *")
        self.native.capacity = capacity
        self._arrays: dict[str, Any] = {}
        for name, size in _ITEM_BYTES._asdict().items():
            self._arrays[name] = new_uncleared(
                f"{'' if size == 8 else 'u'}int{size * 8}_t[]", capacity
            )
            setattr(self.native, name, self._arrays[name])
        self._views = [
            ffi.buffer(self._arrays[name], capacity * size)
            for name, size in _ITEM_BYTES._asdict().items()
        ]

    def interface_numbers(self) -> set[int]:
        """Return the rows' interface numbers."""
        return set(ffi.unpack(self._arrays["interfaces"], self.native.count))

    def raw(self, *, interfaces: bool, options: bool = False) -> RawColumns:
        wide, narrow = self.native.count * 8, self.native.count * 4
        timestamps, offsets, captured, wire, numbers, lengths = self._views
        return RawColumns(
            timestamps[:wide],
            offsets[:narrow],
            captured[:narrow],
            wire[:narrow],
            numbers[:narrow] if interfaces else None,
            lengths[:narrow] if options else None,
        )

    def batch(
        self,
        data: RawData,
        linktype: LinkType,
        interface: dict[int, str] | str | None,
        *,
        options: bool = False,
    ) -> PacketBatch:
        """Return the rows as a batch over data; the columns are copied, the data is not.

        Args:
            data: What the rows' offsets count from.
            linktype: What the packets begin with.
            interface: The device of all packets, or the names behind the rows' numbers.
            options: Whether a packet has options.
        """
        raw = self.raw(interfaces=isinstance(interface, dict), options=options)
        return PacketBatch(data, raw, linktype, interface, first=0, count=self.native.count)
