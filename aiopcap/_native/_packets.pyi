from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Self, TypeVar

from typing_extensions import Buffer

_P = TypeVar("_P", bound=PacketBase)

version: str

class PacketBase:
    def __new__(
        cls,
        data: bytes | bytearray | memoryview,
        *,
        timestamp_ns: int = 0,
        wire_length: int | None = None,
        linktype: Any = None,
        interface: str | None = None,
    ) -> Self: ...
    @property
    def data(self) -> bytes: ...
    @property
    def timestamp_ns(self) -> int: ...
    @property
    def wire_length(self) -> int: ...
    @property
    def linktype(self) -> Any: ...
    @property
    def interface(self) -> str | None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Cursor:
    rows: Rows[Any] | None

class Stream(Generic[_P]):
    def __new__(cls, cursor: Cursor, wait: Callable[[], Coroutine[Any, Any, _P]]) -> Self: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_P]: ...

class Rows(Generic[_P]):
    def __new__(
        cls,
        packet_type: type[_P],
        first: int,
        count: int,
        data: Buffer,
        data_start: int,
        data_size: int,
        timestamps_ns: Buffer,
        offsets: Buffer,
        captured_lengths: Buffer,
        wire_lengths: Buffer,
        interfaces: Buffer | None,
        linktype: Any,
        interface: dict[int, str] | str | None,
    ) -> Self: ...
    @property
    def position(self) -> int: ...
    @property
    def count(self) -> int: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _P: ...
    def allow(self, budget_ns: int) -> None: ...
    def skip(self, number: int) -> None: ...
    def packet(self, index: int) -> _P: ...
