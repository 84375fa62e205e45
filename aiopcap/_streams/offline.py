"""Reading savefiles."""

from typing import final

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import ObjectReceiveStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytesource import Readable, Waiting, open_bytes
from aiopcap._core.filter import Filter
from aiopcap._core.packet import Packet
from aiopcap._core.savefile import SavefileSource
from aiopcap._streams._threads import open_in_thread
from aiopcap._streams.capture import Capture


class _Fetching:
    """Calls to a source, waited for in the way that its bytes need.

    A thread that is in a read cannot be stopped. When the waiting task is, the thread goes on
    and leaves what it read in `_ready`, where the next call finds it.
    """

    def __init__(self, source: SavefileSource) -> None:
        self._source = source
        self._limiter = CapacityLimiter(1)
        self._ready: PacketBatch | None = None
        self._waiter: anyio.CancelScope | None = None

    async def prepare(self) -> None:
        if self._source.waiting is Waiting.BLOCK:
            await to_thread.run_sync(self._source.prepare, abandon_on_cancel=True)
        else:
            while not self._source.prepare():
                await anyio.wait_readable(self._source.fileno())

    def _fetch(self, max_packets: int) -> None:
        if self._ready is None:
            self._ready = self._source.read_batch(max_packets)

    async def read(self, max_packets: int) -> PacketBatch:
        while True:
            if self._source.waiting is Waiting.BLOCK:
                with anyio.CancelScope() as self._waiter:
                    await to_thread.run_sync(
                        self._fetch, max_packets, abandon_on_cancel=True, limiter=self._limiter
                    )
            batch = self.read_nowait(max_packets)
            if batch is not None:
                return batch
            if self._source.waiting is Waiting.POLL:
                await anyio.wait_readable(self._source.fileno())

    def read_nowait(self, max_packets: int) -> PacketBatch | None:
        if self._source.waiting is not Waiting.BLOCK:
            return self._source.read_batch(max_packets)
        batch, self._ready = self._ready, None
        if batch is None:
            self._source.fileno()  # raises when it is closed
        return batch

    def wake(self) -> None:
        if self._source.waiting is Waiting.POLL:
            anyio.notify_closing(self._source.fileno())
        elif self._waiter is not None:
            self._waiter.cancel()


@final
class OfflineCapture(Capture[SavefileSource], ObjectReceiveStream[Packet]):
    """The packets of a savefile; open one with `open_offline`."""

    def __init__(
        self, source: SavefileSource, fetching: _Fetching, filter: Filter | None
    ) -> None:
        super().__init__(source, source.name, filter)
        self._fetching = fetching

    @property
    def format(self) -> str:
        """The file's format, "pcap" or "pcapng"."""
        return self._source.format

    @property
    def version(self) -> tuple[int, int]:
        """The format's version in the file's header, major and minor."""
        return self._source.version

    @property
    def byte_swapped(self) -> bool:
        """Whether the file was written in the other byte order than this machine's."""
        return self._source.byte_swapped

    @property
    def timestamp_precision(self) -> int:
        """The digits of a second in the file's time stamps: 6 or 9."""
        return self._source.timestamp_precision

    def _read_nowait(self, max_packets: int) -> PacketBatch | None:
        return self._fetching.read_nowait(max_packets)

    async def _read(self, max_packets: int) -> PacketBatch:
        return await self._fetching.read(max_packets)

    def _wake_readers(self) -> None:
        self._fetching.wake()


async def open_offline(source: Readable, *, filter: str | Filter | None = None) -> OfflineCapture:
    """Open a savefile, pcap or pcapng, for reading.

    It returns when the file's header has been read; from a pipe, that may wait. Files on a disk
    and file objects are read in a worker thread, pipes when they have something: reading never
    blocks the event loop.

    Args:
        source: A path, "-" for standard input, a file descriptor, a binary file object, or the
            file's bytes. Descriptors and objects stay the caller's, and open.
        filter: An expression (pcap-filter(7)) or a compiled filter.

    Raises:
        OSError: If the path cannot be opened (`FileNotFoundError`, `IsADirectoryError`, …).
        SavefileError: If it is not a savefile.
        TruncatedSavefileError: If it ends inside its header, or is empty.
        FilterError: If the filter does not compile.
    """
    core = await open_in_thread(lambda: SavefileSource(open_bytes(source)))
    try:
        fetching = _Fetching(core)
        await fetching.prepare()
        program = None
        if filter is not None:
            program = await to_thread.run_sync(core.compile, filter, abandon_on_cancel=True)
            core.set_filter(program)
    except BaseException:
        core.close()
        raise
    return OfflineCapture(core, fetching, program)
