"""The columns that a reader fills, call after call, and batches made of what it filled."""

from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.linktype import LinkType
from aiopcap._native import ffi

# Readers overwrite what they use: clearing it first would cost as much as reading.
new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

_COLUMNS = (
    ("timestamps_ns", "int64_t[]", 8, "q"),
    ("offsets", "uint32_t[]", 4, "I"),
    ("captured_lengths", "uint32_t[]", 4, "I"),
    ("wire_lengths", "uint32_t[]", 4, "I"),
)


class Columns:
    """Room for the rows of one call.

    Args:
        capacity: The most packets one call returns.
    """

    def __init__(self, capacity: int) -> None:
        self.native = ffi.new("aiopcap_batch *")
        self.native.capacity = capacity
        self._arrays: dict[str, Any] = {}
        for name, kind, _, _ in _COLUMNS:
            self._arrays[name] = new_uncleared(kind, capacity)
            setattr(self.native, name, self._arrays[name])
        self._arrays["interfaces"] = new_uncleared("uint32_t[]", capacity)
        self.native.interfaces = self._arrays["interfaces"]

    def _copy(self, name: str, itemsize: int, code: str) -> memoryview:
        raw: bytes = ffi.buffer(self._arrays[name], self.native.count * itemsize)[:]
        return memoryview(raw).cast(code)  # type: ignore[call-overload, no-any-return]

    def interface_numbers(self) -> memoryview:
        """Return a copy of the rows' interface numbers."""
        return self._copy("interfaces", 4, "I")

    def batch(
        self,
        data: memoryview,
        linktype: LinkType,
        interface: dict[int, str] | str | None,
        interfaces: memoryview | None,
    ) -> PacketBatch:
        """Return the rows as a batch over data; the columns are copied, the data is not."""
        return PacketBatch(
            data,
            linktype,
            *(self._copy(name, itemsize, code) for name, _, itemsize, code in _COLUMNS),
            interface=interface,
            interfaces=interfaces,
        )
