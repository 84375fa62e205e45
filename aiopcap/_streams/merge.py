"""Several captures as one stream, in the order of the time stamps.

Of each capture the merge holds what was read and not yet delivered. The earliest packet of all is
next, and while every capture has one in hand there is nothing to wait for. A capture without one
may still bring an earlier packet: a savefile is waited for, a device for a short while only.
"""

import math
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import repeat
from typing import final

import anyio
import anyio.lowlevel

from aiopcap._core.batch import PacketBatch
from aiopcap._core.hand import SLICE_NS
from aiopcap._core.merging import NOTHING, Lane, Merger
from aiopcap._streams.capture import Capture
from aiopcap._streams.live import LiveCapture
from aiopcap._streams.packetstream import PacketStream, translated

# While packets of a device are held back, the next ones are read: so it is known since when they
# are there, and the kernel's buffer does not overflow. This only bounds the memory of one capture.
HELD_BYTES = 16 * 1024 * 1024


class _Feed:
    """One capture of a merge, and what was read from it."""

    def __init__(self, capture: Capture, lane: Lane) -> None:
        self.capture = capture
        self.lane = lane
        self.live = capture._endless
        self.ended = False
        self.failure: Exception | None = None

    def take_over(self) -> None:
        """Take what the capture has in hand."""
        if self.capture._hand.left:
            self.lane.add(self.capture._hand.deliver(None), anyio.current_time())
        self.capture._hand.drop()

    @property
    def wants(self) -> bool:
        """Whether to read from it."""
        if self.ended or self.failure is not None:
            return False
        return not self.lane or (self.live and self.lane.nbytes < HELD_BYTES)

    def read(self, now: float) -> bool:
        """Read once; False where that has to be repeated, after a pause."""
        try:
            self.capture._check_open()
            with translated:
                read = self.capture._read_nowait()
            if read is None:
                return True
            batch = self.capture._passing(read)
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self.ended = True
            return True
        except Exception as exc:
            self.failure = exc
            return True
        if batch:
            self.lane.add(batch, now)
        return bool(batch)

    async def wait(self) -> None:
        """Wait until there may be something to read."""
        try:
            with translated:
                await self.capture._wait()
        except anyio.ClosedResourceError:
            pass  # `read` finds it closed
        except Exception as exc:
            self.failure = exc


def _in_hand(feed: _Feed) -> int:
    return feed.lane.nbytes


@final
class Merge(PacketStream):
    """The packets of several captures in the order of their time stamps; see `merge`."""

    def __init__(
        self, captures: tuple[Capture, ...], names: Sequence[str] | None, max_delay: float
    ) -> None:
        self._captures = captures
        super().__init__()
        self._max_delay = max_delay
        self._waiting = anyio.CancelScope()
        self._merger = Merger()
        with ExitStack() as taken:
            for capture in captures:
                taken.enter_context(capture._reading)
            self._taken = taken.pop_all()
        self._feeds = [
            _Feed(capture, self._merger.lane(*_names(capture, name)))
            for capture, name in zip(captures, names or repeat(None), strict=False)
        ]
        for feed in self._feeds:
            feed.take_over()

    # -- reading ---------------------------------------------------------------------------------

    def _read_nowait(self) -> PacketBatch | None:
        now = anyio.current_time()
        complete = self._read_feeds(now)
        self._raise_failure()
        self._feeds = [feed for feed in self._feeds if feed.lane or not feed.ended]
        if not self._feeds:
            raise EOFError
        if not complete:
            return NOTHING
        if now < self._due():
            return None
        return self._merger.merge([feed.lane for feed in self._feeds if feed.lane])

    def _read_feeds(self, now: float) -> bool:
        """Read from all that want it; False where the next packet depends on some that are left."""
        until = time.monotonic_ns() + SLICE_NS
        complete = True
        for feed in sorted(self._feeds, key=_in_hand):
            if time.monotonic_ns() >= until:
                return complete and bool(feed.lane)
            if feed.wants:
                complete &= feed.read(now)
        return complete

    def _raise_failure(self) -> None:
        """Raise what is the next that a capture has to give."""
        for feed in self._feeds:
            if feed.failure is not None and not feed.lane:
                failure, feed.failure, feed.ended = feed.failure, None, True
                raise failure

    def _due(self) -> float:
        """Return from when on there is a packet to deliver, on anyio's clock.

        It is when the packet that was read first has been held back for long enough. What comes
        before that one in the order may have been read later, and goes with it.
        """
        empty = [feed for feed in self._feeds if not feed.lane]
        if not empty:
            return -math.inf
        if len(empty) == len(self._feeds) or not all(feed.live for feed in empty):
            return math.inf
        return self._max_delay + min(feed.lane.read_at for feed in self._feeds if feed.lane)

    async def _wait(self) -> None:
        waiting = [feed for feed in self._feeds if feed.wants]
        with anyio.CancelScope(deadline=self._due()) as self._waiting:
            if len(waiting) == 1:
                await waiting[0].wait()
                return
            async with anyio.create_task_group() as tasks:

                async def wait_for(feed: _Feed) -> None:
                    await feed.wait()
                    tasks.cancel_scope.cancel()

                for feed in waiting:
                    tasks.start_soon(wait_for, feed)

    # -- closing ---------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the merge and its captures; a checkpoint.

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
            self._feeds = []
            if not self._loop.is_other:
                self._waiting.cancel()
            self._taken.close()
            async with AsyncExitStack() as closing:
                for capture in self._captures:
                    closing.push_async_callback(capture.aclose)
        await anyio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        state = "closed " if self._closed else ""
        return f"<{state}Merge of {len(self._captures)} captures>"


def _names(capture: Capture, name: str | None) -> tuple[str, str]:
    """Return what packets are said to come from, and what stands before names of their own."""
    if name is None and isinstance(capture, LiveCapture):
        return capture.device, ""
    name = capture._name if name is None else name
    return name, f"{name}:"


def merge(*captures: Capture, names: Sequence[str] | None = None, max_delay: float = 0.01) -> Merge:
    """Merge captures into one stream, in the order of their time stamps.

    The captures may be of files, of devices, or both, and of different link types: each packet
    knows its `linktype`, and all packets of a batch have the same.

    Nothing is reordered within one capture: a file that is not sorted itself comes in its own
    order, as with mergecap. Packets with equal time stamps come in the order of the arguments.

    A savefile is waited for, however long it takes, so files are merged exactly. A device, or a
    file that is followed, is waited for only while a packet of another capture is less than
    `max_delay` old: packets that come later than that are delivered at once, out of order. Nothing
    waits while every capture has a packet in hand.

    Each packet says where it came from, in its `interface`: its device, or the name of its file.
    Where the packet says so itself, as in a pcapng file, it is "file:interface".

    An error of one capture is raised where its next packet would be, after all its packets. It is
    raised once; read on, and the packets of the other captures come. A capture that is closed by
    itself ends without an error.

    The captures belong to the merge, which closes them: until then others that read from them get
    `anyio.BusyResourceError`. A new filter of a capture is not tried on what the merge has read.

    Args:
        captures: Each of them once.
        names: Names in place of those of files and devices, one for each capture. Where a packet
            has an interface of its own, it is "name:interface". What has no name by itself, such
            as a file in memory, needs one to be told apart.
        max_delay: The most seconds to hold back a packet of a device or file until others bring
            earlier ones. It should be longer than the `buffer_timeout` of the captures. With
            `math.inf`, packets come in order, and only when every capture has brought one.

    Raises:
        ValueError: If there is no capture, one is there twice, there are not as many names, or
            `max_delay` is negative.
        anyio.ClosedResourceError: If a capture is closed.
        anyio.BusyResourceError: If a task is reading from one, or another merge, or a dump in the
            background.
    """
    if not captures:
        raise ValueError("a merge needs a capture")
    for capture in captures:
        if not isinstance(capture, Capture):
            raise TypeError(f"a merge takes captures, not {type(capture).__name__}")
    if len(set(captures)) != len(captures):
        raise ValueError("a capture can be merged once only")
    if names is not None:
        _check_names(names, len(captures))
    if not max_delay >= 0:
        raise ValueError(f"max_delay must not be negative, as {max_delay} is")
    for capture in captures:
        capture._check_usable()
        if isinstance(capture, LiveCapture):
            capture._check_no_dump()
    return Merge(captures, names, max_delay)


def _check_names(names: Sequence[str], count: int) -> None:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError("names must be a sequence of strings")
    if len(names) != count:
        raise ValueError(f"there must be {count} names, not {len(names)}")
