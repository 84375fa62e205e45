"""Streams of packets: the cursor over the batch in hand, which captures and merges share.

The batch that was read last belongs to the stream, not to a call: a call that is cancelled, a
loop that is left, or a new loop finds it where it was. So nothing is lost and nothing comes twice.

A loop over packets takes them without giving way, until the batch ends or half a millisecond has
passed, whatever the body of the loop costs; then the event loop has its turn.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import final

import anyio
import anyio.lowlevel
from anyio.abc import UnreliableObjectReceiveStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.hand import Hand
from aiopcap._core.packet import Packet
from aiopcap._core.resource import Owner, ResourceClosedError
from aiopcap._streams._loops import HomeLoop


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


class PacketStream(UnreliableObjectReceiveStream[Packet]):
    """A stream of packets: a capture, or a merge of several.

    Use it as an async context manager, iterate it for packets, or `batches()` for many at once.
    One task reads at a time; a second gets `anyio.BusyResourceError`. It belongs to the event
    loop that opened it.

    Cancellation: at whatever await a task is cancelled, no packet is lost and none comes twice.
    """

    def __init__(self) -> None:
        self._closed = False
        self._loop = HomeLoop()
        self._owner = Owner(repr(self))
        self._reading = anyio.ResourceGuard("reading from")
        self._hand = Hand()

    # -- what a kind of stream defines -----------------------------------------------------------

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until there may be something to read: a checkpoint."""

    @abstractmethod
    def _read_nowait(self) -> PacketBatch | None:
        """Return packets that are there, or None; raises EOFError at the end.

        Where the batch is empty, there is more to do, after a pause.
        """

    def _passing(self, batch: PacketBatch) -> PacketBatch:
        """Return what of a batch that was read is to be delivered."""
        return batch

    # -- reading ---------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Packet]:  # type: ignore[override]
        # Not the stream itself, as anyio's type has it: a coroutine for each packet would cost
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
            anyio.ClosedResourceError: If the stream is closed, also while this waits.
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
                self._hand.take(self._passing(batch), batch)

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
                        self._hand.take(self._passing(batch), batch)
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

    def _check_closable(self) -> None:
        """Raise RuntimeError where a task that this loop cannot wake is reading."""
        if self._loop.is_other:
            try:
                with self._reading:
                    pass
            except anyio.BusyResourceError:
                raise RuntimeError(f"a task of another event loop reads from {self!r}") from None


@final
class _Batches(AsyncIterator[PacketBatch]):
    def __init__(self, stream: PacketStream, max_packets: int | None) -> None:
        self._stream = stream
        self._max_packets = max_packets

    async def __anext__(self) -> PacketBatch:
        try:
            return await self._stream._receive_batch(self._max_packets)
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
