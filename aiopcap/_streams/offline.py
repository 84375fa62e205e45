"""Reading savefiles."""

from collections import deque
from concurrent.futures import Future
from typing import final

import anyio
from anyio import to_thread
from anyio.abc import ObjectReceiveStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytesource import Readable, Waiting, open_bytes
from aiopcap._core.daemon import Daemon
from aiopcap._core.errors import copy_of
from aiopcap._core.filter import Filter
from aiopcap._core.interfaces import Interface, Section
from aiopcap._core.packet import Packet
from aiopcap._core.savefile import SavefileSource
from aiopcap._streams._threads import open_in_thread
from aiopcap._streams.capture import Capture

_THREADED = (Waiting.BLOCK, Waiting.GROWTH)

# Seconds from one look at a followed file to the next, while it does not grow.
FOLLOW_INTERVAL = 0.1


async def _prepare(source: SavefileSource) -> None:
    """Wait for the file's header."""
    if source.waiting in _THREADED:
        while not await to_thread.run_sync(source.prepare, abandon_on_cancel=True):
            if source.waiting is Waiting.GROWTH:
                await anyio.sleep(FOLLOW_INTERVAL)
    else:
        while not source.prepare():
            await anyio.wait_readable(source.fileno())


class _Fetching:
    """Reads of a source, waited for in the way that its bytes need.

    What may block runs in a thread of the capture's own, one read after the other. A read cannot
    be stopped: when the task that waits for it is, the read goes on, and the next call finds what
    came of it. While packets are delivered, the thread reads on in a file; what another program
    decides when to send is read only when somebody waits for it. A file that grows is left alone
    for a while when all of it was read.
    """

    def __init__(self, source: SavefileSource) -> None:
        self._source = source
        self._daemon: Daemon[list[PacketBatch]] | None = None
        if source.waiting in _THREADED:
            self._daemon = Daemon(source.read_batches, "aiopcap-reader")
        self._fetch: Future[list[PacketBatch]] | None = None
        self._ready: deque[PacketBatch] = deque()
        self._at_end_for_now = False
        self._failure: BaseException | None = None
        self._closed = False

    async def wait(self) -> None:
        """Wait until there may be something to read: a checkpoint."""
        if self._daemon is None:
            await anyio.wait_readable(self._source.fileno())
            return
        if self._at_end_for_now and self._fetch is None:
            self._daemon.clear()
            with anyio.move_on_after(FOLLOW_INTERVAL):
                # Nobody rings now; but this is how closing ends the wait.
                await anyio.wait_readable(self._daemon.fileno())
        self._fetch = self._fetch or self._daemon.call()
        await anyio.wait_readable(self._daemon.fileno())
        # It may have been an earlier call that rang; then this one is waited for again.
        self._daemon.clear()

    def read_nowait(self) -> PacketBatch | None:
        """Return the next batch if it is there."""
        if self._closed:
            raise anyio.ClosedResourceError
        if self._daemon is None:
            return self._source.read_batch()
        if self._failure is not None:
            raise copy_of(self._failure)
        if not self._ready and self._fetch is not None and self._fetch.done():
            done, self._fetch = self._fetch, None
            if (failure := done.exception()) is not None:
                self._failure = copy_of(failure)
                raise copy_of(self._failure)
            self._ready.extend(done.result())
            self._at_end_for_now = self._source.waiting is Waiting.GROWTH and not self._ready
            if self._source.steady and not self._at_end_for_now:
                self._fetch = self._daemon.call()
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Make the task that is in `wait` come back."""
        self._closed = True
        if self._daemon is not None:
            anyio.notify_closing(self._daemon.fileno())
            self._daemon.close()
        elif self._source.waiting is Waiting.POLL:
            anyio.notify_closing(self._source.fileno())


@final
class OfflineCapture(Capture, ObjectReceiveStream[Packet]):
    """The packets of a savefile; open one with `open_offline`."""

    def __init__(self, source: SavefileSource, filter: Filter | None, *, follow: bool) -> None:
        super().__init__(source, source.name, filter)
        self._endless = follow
        self._file = source
        self._fetching = _Fetching(source)

    @property
    def format(self) -> str:
        """The file's format, "pcap" or "pcapng"."""
        return self._file.format

    @property
    def version(self) -> tuple[int, int]:
        """The format's version in the file's header, major and minor."""
        return self._file.version

    @property
    def compression(self) -> str | None:
        """How the file is compressed: "gzip", "xz", "zstd" or "lz4"; None when it is not."""
        return self._file.compression

    @property
    def byte_swapped(self) -> bool:
        """Whether the file was written in the other byte order than this machine's."""
        return self._file.byte_swapped

    @property
    def timestamp_precision(self) -> int:
        """The digits of a second in the file's time stamps: 6 or 9."""
        return self._file.timestamp_precision

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces of a pcapng file, of all sections, as far as it was read.

        At most the first 65536; and of all options together 16 MiB.
        """
        return self._file.interfaces

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of a pcapng file, as far as it was read; at most the first 65536."""
        return tuple(self._file.descriptions.sections)

    @property
    def skipped_blocks(self) -> int:
        """How many blocks of a pcapng file had a type that is not read, as far as it was read."""
        return self._file.skipped_blocks

    async def _wait(self) -> None:
        await self._fetching.wait()

    def _read_nowait(self) -> PacketBatch | None:
        return self._fetching.read_nowait()

    def _wake_readers(self) -> None:
        self._fetching.close()

    async def _release(self) -> None:
        if self._file.waiting is Waiting.NEVER:
            self._file.close()
        else:
            await super()._release()


async def open_offline(
    source: Readable, *, filter: str | Filter | None = None, follow: bool = False
) -> OfflineCapture:
    """Open a savefile, pcap or pcapng, for reading.

    It returns when the file's header has been read; from a pipe, that may wait. Files on a disk
    and file objects are read in a worker thread, pipes when they have something: reading never
    blocks the event loop.

    A file that is compressed with gzip, xz, zstd or lz4 is recognised by its first bytes, wherever
    it comes from, and decompressed while it is read, in little memory. zstd (before Python 3.14)
    and lz4 need the extra `aiopcap[compression]`.

    With `follow`, a file that another program is writing is read as `tail -f` does: at its end, be
    that inside a record or before the header, reading waits for more, by a look at the file ten
    times a second. It never ends by itself; close the capture, or cancel. A file that is cut
    shorter than what was read gives `SavefileError`; cut and grown again between two looks, it may
    not be noticed. A new file of the same name is not noticed either.

    Args:
        source: A path, "-" for standard input, a file descriptor, a binary file object, or the
            file's bytes. Descriptors and objects stay the caller's, and open.
        filter: An expression (pcap-filter(7)) or a compiled filter.
        follow: Whether to wait for more at the end; for regular files, by path or descriptor.

    Raises:
        OSError: If the path cannot be opened (`FileNotFoundError`, `IsADirectoryError`, …).
        SavefileError: If it is not a savefile, or what is compressed is damaged.
        TruncatedSavefileError: If it ends inside its header, or is empty.
        MissingExtraError: If decompressing it needs the extra.
        FilterError: If the filter does not compile.
        ValueError: If it cannot be followed.
    """
    # No thread for what never blocks: trio's autojump clock does not wait for threads.
    if isinstance(source, bytes | bytearray | memoryview):
        core = SavefileSource(open_bytes(source, follow=follow))
    else:
        core = await open_in_thread(lambda: SavefileSource(open_bytes(source, follow=follow)))
    try:
        await _prepare(core)
        program = None
        if filter is not None:
            program = await to_thread.run_sync(core.compile, filter, abandon_on_cancel=True)
            core.set_filter(program)
    except BaseException:
        core.close()
        raise
    return OfflineCapture(core, program and program.filter, follow=follow)
