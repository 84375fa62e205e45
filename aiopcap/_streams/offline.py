"""Reading savefiles."""

import threading
from collections import deque
from typing import final

import anyio
import anyio.lowlevel
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
    """Reads of a source, waited for in the way that its bytes need.

    A thread that is in a read cannot be stopped. When the waiting task is, the thread goes on
    and leaves what it read in `_ready`, where the next call finds it.
    """

    def __init__(self, source: SavefileSource) -> None:
        self._source = source
        self._limiter = CapacityLimiter(1)
        self._fetching = threading.Lock()
        self._filter: Filter | None = None
        self._ready: deque[tuple[Filter | None, PacketBatch]] = deque()
        self._waiter: anyio.CancelScope | None = None
        self._closed = False

    async def prepare(self) -> None:
        """Wait for the file's header."""
        if self._source.waiting is Waiting.BLOCK:
            await to_thread.run_sync(self._source.prepare, abandon_on_cancel=True)
        else:
            while not self._source.prepare():
                await anyio.wait_readable(self._source.fileno())

    async def read(self) -> PacketBatch:
        """Wait for the next batch."""
        while not (batch := self.read_nowait()):
            if batch is not None:
                await anyio.lowlevel.checkpoint()
            elif self._source.waiting is Waiting.POLL:
                await anyio.wait_readable(self._source.fileno())
            else:
                with anyio.CancelScope() as self._waiter:
                    await to_thread.run_sync(
                        self._fetch, abandon_on_cancel=True, limiter=self._limiter
                    )
        return batch

    def read_nowait(self) -> PacketBatch | None:
        """Return the next batch if it is there."""
        if self._source.waiting is not Waiting.BLOCK:
            return self._source.read_batch()
        if self._closed:
            raise anyio.ClosedResourceError
        while self._ready:
            read_with, batch = self._ready.popleft()
            if self._filter is not None and read_with is not self._filter:
                batch = self._filter.select(batch)
            if len(batch):
                return batch
        return None

    def filter_with(self, filter: Filter) -> None:
        """Let only matching packets pass, of those that were read before too."""
        self._filter = filter

    def wake(self) -> None:
        """Make the task that waits in `read` come back."""
        self._closed = True
        if self._source.waiting is Waiting.POLL:
            anyio.notify_closing(self._source.fileno())
        elif self._waiter is not None:
            self._waiter.cancel()

    def _fetch(self) -> None:
        # In a worker thread. The thread of a call that was cancelled may still be at it: what
        # that one reads is what this one is for.
        with self._fetching:
            if not self._ready:
                read_with = self._filter
                self._ready.extend((read_with, batch) for batch in self._source.read_batches())


@final
class OfflineCapture(Capture, ObjectReceiveStream[Packet]):
    """The packets of a savefile; open one with `open_offline`."""

    def __init__(self, source: SavefileSource, fetching: _Fetching, filter: Filter | None) -> None:
        super().__init__(source, source.name, filter)
        self._file = source
        self._fetching = fetching

    @property
    def format(self) -> str:
        """The file's format, "pcap" or "pcapng"."""
        return self._file.format

    @property
    def version(self) -> tuple[int, int]:
        """The format's version in the file's header, major and minor."""
        return self._file.version

    @property
    def byte_swapped(self) -> bool:
        """Whether the file was written in the other byte order than this machine's."""
        return self._file.byte_swapped

    @property
    def timestamp_precision(self) -> int:
        """The digits of a second in the file's time stamps: 6 or 9."""
        return self._file.timestamp_precision

    def _filter_read(self, filter: Filter) -> None:
        super()._filter_read(filter)
        self._fetching.filter_with(filter)

    async def _read(self) -> PacketBatch:
        return await self._fetching.read()

    def _read_nowait(self) -> PacketBatch | None:
        return self._fetching.read_nowait()

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
    return OfflineCapture(core, fetching, program and program.filter)
