"""What live and offline captures share: the cursor over the batch in hand.

The batch that was read last belongs to the capture, not to a call: a call that is cancelled, a
loop that is left, or a new loop finds it where it was. So nothing is lost and nothing comes twice.

A loop over packets takes them without giving way, until the batch ends or half a millisecond has
passed, whatever the body of the loop costs; then the event loop has its turn.
"""

import sys
import warnings
from abc import abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import final

import anyio
import anyio.lowlevel
from anyio import to_thread
from anyio.abc import UnreliableObjectReceiveStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import Writable
from aiopcap._core.filter import Filter
from aiopcap._core.hand import Hand
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._core.resource import Owner, ResourceClosedError
from aiopcap._core.source import PacketSource
from aiopcap._core.writer import SavefileFormat
from aiopcap._streams._loops import HomeLoop
from aiopcap._streams._threads import run_surely
from aiopcap._streams.dumper import Dumper, open_dumper


class _Translated:
    """The core's words for the ends of things, in anyio's."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, ResourceClosedError):
            raise anyio.ClosedResourceError from None
        if type(exc) is EOFError:
            raise anyio.EndOfStream from None


translated = _Translated()


class Capture(UnreliableObjectReceiveStream[Packet]):
    """A stream of packets, live or from a file.

    Use it as an async context manager, iterate it for packets, or `batches()` for many at once.
    One task reads at a time; a second gets `anyio.BusyResourceError`. It belongs to the event
    loop that opened it.

    Cancellation: at whatever await a task is cancelled, no packet is lost and none comes twice.
    """

    def __init__(self, source: PacketSource, name: str, filter: Filter | None) -> None:
        self._source = source
        self._name = name
        self._closed = False
        self._filter = filter
        self._loop = HomeLoop()
        self._owner = Owner(repr(self))
        self._reading = anyio.ResourceGuard("reading from")
        self._hand = Hand()

    # -- what a kind of capture defines ----------------------------------------------------------

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until there may be something to read: a checkpoint."""

    def _read_nowait(self) -> PacketBatch | None:
        """Return packets that are there, or None; raises EOFError at the end."""
        return self._source.read_batch()

    def _wake_readers(self) -> None:
        """Make a task that waits in `_read` come back; the source is closed next."""
        fd = self._source.fileno()
        if fd >= 0:
            anyio.notify_closing(fd)

    # -- reading ---------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Packet]:  # type: ignore[override]
        # Not the capture itself, as anyio's type has it: a coroutine for each packet would cost
        # more than the packet.
        return self._hand.stream(self.__anext__)

    async def __anext__(self) -> Packet:
        for packet in self._hand.packets:
            return packet
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> Packet:
        """Wait for the next packet; always a checkpoint.

        Raises:
            anyio.EndOfStream: After the last packet of a file.
            anyio.ClosedResourceError: If the capture is closed, also while this waits.
            anyio.BusyResourceError: If another task is reading.
            PcapError: If the device or the file failed; all packets before that came first.
        """
        while True:
            await self._refill()
            for packet in self._hand.packets:
                return packet

    def receive_nowait(self) -> Packet:
        """Return the next packet if one is there already.

        A capture of a file that has to be read from a disk has packets there only after
        `receive` or another waiting call has fetched some.

        Raises:
            anyio.WouldBlock: If there is none yet.
            anyio.EndOfStream, anyio.ClosedResourceError, anyio.BusyResourceError, PcapError: As
                `receive`.
        """
        with self._reading:
            self._check_usable()
            while True:
                while self._hand.left:
                    self._hand.begin_slice()
                    for packet in self._hand.packets:
                        return packet
                with translated:
                    batch = self._read_nowait()
                if batch is None:
                    raise anyio.WouldBlock
                self._hand.take(self._source.passing(batch), batch)

    async def receive_batch(self) -> PacketBatch:
        """Wait for packets, and return all that one native call gave; always a checkpoint.

        What a loop over packets has left of a batch comes first. Raises as `receive`.
        """
        return await self._receive_batch(None)

    def batches(self, max_packets: int | None = None) -> AsyncIterator[PacketBatch]:
        """Iterate over batches instead of packets, which costs a fifth.

        Args:
            max_packets: The most packets of a batch; as many as one native call gives where None.
        """
        if max_packets is not None and max_packets < 1:
            raise ValueError(f"max_packets must be positive, not {max_packets}")
        return _Batches(self, max_packets)

    async def _receive_batch(self, max_packets: int | None) -> PacketBatch:
        await self._refill()
        return self._hand.deliver(max_packets)

    async def _refill(self) -> None:
        """Return when there is a packet in hand; a checkpoint."""
        with self._reading:
            self._check_usable()
            # Waiting is a checkpoint; so there is one more only where there was nothing to wait
            # for. What was read is in hand by then.
            waited = False
            while not self._hand.left:
                with translated:
                    batch = self._read_nowait()
                    if batch is None:
                        # On uvloop, a wait that is over at once does not notice a cancel.
                        await anyio.lowlevel.checkpoint_if_cancelled()
                        await self._wait()
                        waited = True
                    else:
                        self._hand.take(self._source.passing(batch), batch)
                        if not self._hand.left:
                            await anyio.lowlevel.checkpoint()
                self._check_open()
            if not waited:
                await anyio.lowlevel.checkpoint()
                self._check_open()
            self._hand.begin_slice()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    def _check_usable(self) -> None:
        self._check_open()
        self._owner.check()
        if self._loop.is_other:
            raise RuntimeError(f"{self!r} belongs to another event loop, or to another thread's")

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
        self, target: Writable, *, precision: str = "nano", compression: str | None = "auto"
    ) -> Dumper:
        """Open a savefile for packets of this capture; see `aiopcap.dump_open`."""
        self._check_usable()
        source = self._source
        format = SavefileFormat(source.linktype, source.snaplen, precision, source.checksum_bits)
        return await open_dumper(target, format, compression)

    async def aclose(self) -> None:
        """Close the capture and free everything; a checkpoint.

        A task that waits for packets gets `anyio.ClosedResourceError` at once, and packets in
        hand are dropped. Idempotent; cancelled, it closes all the same.

        Raises:
            RuntimeError: If a task of another event loop is reading: only its own loop can wake
                it. When that loop is over, any may close.
        """
        if self._loop.is_other:
            try:
                with self._reading:
                    pass
            except anyio.BusyResourceError:
                raise RuntimeError(f"a task of another event loop reads from {self!r}") from None
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


@final
class _Batches(AsyncIterator[PacketBatch]):
    def __init__(self, capture: Capture, max_packets: int | None) -> None:
        self._capture = capture
        self._max_packets = max_packets

    async def __anext__(self) -> PacketBatch:
        try:
            return await self._capture._receive_batch(self._max_packets)
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
