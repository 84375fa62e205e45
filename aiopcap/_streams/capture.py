"""What live and offline captures share: a source of packets, and its filter."""

import sys
import warnings
from collections.abc import Iterable
from typing import Unpack

import anyio
import anyio.lowlevel
from anyio import to_thread

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import Writable
from aiopcap._core.filter import Filter
from aiopcap._core.linktype import LinkType
from aiopcap._core.savefileopening import choose_format
from aiopcap._core.source import PacketSource
from aiopcap._streams._threads import run_surely
from aiopcap._streams.dumper import Dumper, DumpOptions, open_dumper
from aiopcap._streams.packetstream import PacketStream, translated


class Capture(PacketStream):
    """A stream of packets, live or from a file: a `PacketStream` with a filter."""

    # Whether nobody knows if there will be another packet: of a device, or a file that is followed.
    _endless = False

    def __init__(self, source: PacketSource, name: str, filter: Filter | None) -> None:
        self._name = name
        super().__init__()
        self._source = source
        self._filter = filter

    # -- what a kind of capture defines, beside how it waits -------------------------------------

    def _read_nowait(self) -> PacketBatch | None:
        return self._source.read_batch()

    def _passing(self, batch: PacketBatch) -> PacketBatch:
        return self._source.passing(batch)

    def _wake_readers(self) -> None:
        """Make a task that waits in `_read` come back; the source is closed next."""
        fd = self._source.fileno()
        if fd >= 0:
            anyio.notify_closing(fd)

    # -- the filter ------------------------------------------------------------------------------

    @property
    def filter(self) -> Filter | None:
        """The filter in force."""
        return self._filter

    async def set_filter(self, filter: str | Filter | None) -> None:
        """Let only matching packets pass from now on, without a gap.

        When this returns, no packet comes that does not match, not even of those that were read
        or queued before. (A filter on what only the kernel knows, such as "inbound" on Ethernet,
        cannot be tried on packets that were read or queued before: they are dropped.)

        The work is done in a worker thread, as host names may be looked up; cancelled or failed,
        the old filter stays.

        Args:
            filter: An expression, a compiled filter, or None to let everything pass.

        Raises:
            FilterError: If the expression does not compile.
            anyio.ClosedResourceError: If the capture is closed.
        """
        self._check_usable()
        with translated:
            compiled = await to_thread.run_sync(
                self._source.compile, filter, abandon_on_cancel=True
            )
            self._check_usable()
            self._source.set_filter(compiled)
        self._filter = compiled.filter
        if (read := self._hand.undelivered()) is not None:
            self._hand.take(read if self._filter is None else self._filter.select(read), read)

    # -- the rest --------------------------------------------------------------------------------

    @property
    def linktype(self) -> LinkType:
        """What the packets begin with."""
        return self._source.linktype

    @property
    def snaplen(self) -> int:
        """The most bytes of a packet that are captured."""
        return self._source.snaplen

    async def dump_open(
        self,
        target: Writable,
        *,
        precision: str = "nano",
        format: str | None = None,
        comments: Iterable[str] = (),
        **options: Unpack[DumpOptions],
    ) -> Dumper:
        """Open a savefile for packets of this capture; see `aiopcap.dump_open`.

        A pcapng file is told what is known of the capture's interfaces.

        Args:
            target: As there, as all of these.
            precision: Of the time stamps.
            format: "pcap" or "pcapng".
            comments: On the file.
            **options: `compression`, `append`, `rotate`, `buffer_bytes`, `when_full`.
        """
        self._check_usable()
        source = self._source
        chosen = choose_format(
            format,
            target,
            linktype=source.linktype,
            snaplen=source.snaplen,
            precision=precision,
            interfaces=source.interfaces,
            comments=tuple(comments),
            checksum_bits=source.checksum_bits,
        )
        return await open_dumper(target, chosen, **options)

    async def aclose(self) -> None:
        """Close the capture and free everything; a checkpoint.

        A task that waits for packets gets `anyio.ClosedResourceError` at once, and packets in
        hand are dropped. Idempotent; cancelled, it closes all the same.

        Raises:
            RuntimeError: If a task of another event loop is reading: only its own loop can wake
                it. When that loop is over, any may close.
        """
        self._check_closable()
        if not self._closed:
            self._closed = True
            self._hand.drop()
            try:
                self._wake_readers()
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await self._release()
                    finally:
                        # A shield of anyio's does not hold off asyncio's own Task.cancel().
                        self._source.close()
        await anyio.lowlevel.checkpoint()

    async def _release(self) -> None:
        # The kernel takes some 20 ms to take a ring down. Until then the descriptor's number is
        # not given to anybody else, so those who were woken meet nobody there.
        await run_surely(self._source.close)

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        message = f"Unclosed {self!r}"
        self._closed = True
        # At the very end a reading thread may be stopped for ever with a lock in its hands.
        if not sys.is_finalizing():
            self._source.close()
        warnings.warn(message, ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        state = "closed " if self._closed else ""
        return f"<{state}{type(self).__name__} {self._name!r}>"
