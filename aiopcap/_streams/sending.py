"""The side of a capture that sends: single frames, many, and transmissions on a schedule."""

import errno
import math
import warnings
from collections.abc import Callable, Iterable
from concurrent import futures
from itertools import islice
from typing import Protocol, Self

import anyio
import anyio.lowlevel

from aiopcap._core.batch import PacketBatch
from aiopcap._core.daemon import Daemon
from aiopcap._core.errors import PcapError, PcapWarning
from aiopcap._core.linktype import LinkType
from aiopcap._core.packetstore import JOINED, joined
from aiopcap._core.resource import ResourceClosedError
from aiopcap._core.sender import Frame, FrameSender
from aiopcap._core.transmission import Outcome, Pacing, Piece, Transmission, TransmitReport

# The most packets that one call sends on the event loop's own thread: half a millisecond.
QUOTA = 256

# How long frames go the short way before other tasks run: one by one, and in batches, of which the
# last may begin just before the end.
FRAMES_SLICE_NS = 1_000_000
BATCH_SLICE_NS = 500_000

# More than this is worth a thread.
WORTH_A_THREAD = 4 * QUOTA

# Seconds between two attempts while a device's queue is full; nothing tells when it is not. Less
# than a millisecond is nothing at all to uvloop.
SHORTEST_BACKOFF = 0.001
LONGEST_BACKOFF = 0.01

# Seconds before a packet is due that the event loop hands it to C: what a loop may be late by.
LEAD = 0.005

# Seconds that the event loop's clock has to be ahead of the machine's to be taken for a test's.
VIRTUAL = 0.001

# Seconds between two reports, at the least: whatever is asked for, something has to be sent.
LEAST_INTERVAL = 0.001

Progress = Callable[[TransmitReport], object]


class Sending:
    """Sends for one capture; one task at a time.

    Args:
        sender: Of its device.
        check_usable: Raises when the capture is closed, or another loop's.
        on_failure: Called when something could not be sent.
    """

    def __init__(
        self,
        sender: FrameSender,
        check_usable: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._sender = sender
        self._check_usable = check_usable
        self._on_failure = on_failure
        self._guard = anyio.ResourceGuard("sending on")
        self._frames = sender.frames
        self._transmission: Transmission | None = None
        self._pause: anyio.CancelScope | None = None

    @property
    def sender(self) -> FrameSender:
        """Where frames go."""
        return self._sender

    # -- single frames ---------------------------------------------------------------------------

    async def send(self, frame: Frame) -> None:
        """Send a frame, when there is room for it, and allow the short way for a while."""
        self._check_usable()
        self._frames.forbid()
        # Before the frame is sent, never after it: who is cancelled may count on it.
        await anyio.lowlevel.checkpoint()
        with self._guard:
            backoff = SHORTEST_BACKOFF
            while full := self._try(frame):
                backoff = await self._wait_for_room(full, backoff)
        self._frames.allow(FRAMES_SLICE_NS)

    def send_nowait(self, frame: Frame) -> None:
        """Send a frame if there is room for it now."""
        self._check_usable()
        with self._guard:
            if self._try(frame):
                raise anyio.WouldBlock

    def _try(self, frame: Frame) -> int:
        try:
            return self._sender.send(frame)
        except ResourceClosedError:
            raise anyio.ClosedResourceError from None
        except PcapError:
            self._on_failure()
            raise

    async def _wait_for_room(self, full: int, backoff: float) -> float:
        """Wait; returns how long to wait the next time where only time helps."""
        if full != errno.ENOBUFS:
            await self._wait_writable()
            return SHORTEST_BACKOFF
        await self._sleep(backoff)
        return min(2 * backoff, LONGEST_BACKOFF)

    # -- many ------------------------------------------------------------------------------------

    async def send_batch(self, frames: PacketBatch | Iterable[Frame], sent: int) -> int:
        """Send frames in order, of which the first were sent already; returns how many."""
        self._check_usable()
        self._frames.forbid()
        if isinstance(frames, list):
            await anyio.lowlevel.checkpoint()
            with self._guard:
                self._check_usable()
                self._sender.check()
                self._frames.allow(BATCH_SLICE_NS)
            sent = self._frames.send_many(frames, sent)
            if 0 < sent == len(frames):
                return sent
        # Here, and not in the thread: users' iterators run where users call.
        if isinstance(frames, PacketBatch):
            pieces = [Piece(frames)]
        else:
            rest = islice(frames, sent, None)
            pieces = [
                Piece(batch, index=sent + number * JOINED)
                for number, batch in enumerate(joined(rest))
            ]
        run = Transmission(self._sender, Pacing(), send_truncated=True)
        if sent:
            run.count_sent(list(islice(frames, sent)))
        with self.carrier(run) as carrier:
            await carrier.carry(pieces)
        return run.packets

    def carrier(
        self, run: Transmission, progress: Progress | None = None, interval: float = math.inf
    ) -> "Carrier":
        """Return a context in which a transmission has the capture to itself.

        Args:
            run: What is sent.
            progress: Called with a report from time to time.
            interval: Seconds between two such calls.
        """
        self._check_usable()
        return Carrier(self, run, progress, interval)

    # Closed while the task that is about to wait had not run yet, nobody would end the wait.

    async def _wait_writable(self) -> None:
        self._check_usable()
        await anyio.wait_writable(self._sender.fileno())
        self._check_usable()

    async def _sleep(self, seconds: float) -> None:
        self._check_usable()
        try:
            with anyio.CancelScope() as self._pause:
                await anyio.sleep(seconds)
        finally:
            self._pause = None
        self._check_usable()

    def close(self) -> None:
        """Make the task that sends come back; the capture is closed already."""
        self._frames.forbid()
        if self._transmission is not None:
            self._transmission.stop()
        if self._pause is not None:
            self._pause.cancel()


class Carrier:
    """Runs a transmission on the event loop: in a thread where it takes its time, and waits."""

    def __init__(
        self, sending: Sending, run: Transmission, progress: Progress | None, interval: float
    ) -> None:
        self._sending = sending
        self._run = run
        self._progress = progress
        if not interval >= 0:
            raise ValueError(f"progress_interval cannot be {interval}")
        self._interval = math.inf if progress is None else max(interval, LEAST_INTERVAL)
        self._next_progress = anyio.current_time() + self._interval
        self._daemon: Daemon[Outcome] | None = None
        self._inline = 0 if run.pacing.paced else WORTH_A_THREAD

    def __enter__(self) -> Self:
        self._sending._guard.__enter__()
        self._sending._frames.forbid()
        self._sending._transmission = self._run
        return self

    def __exit__(self, *exception: object) -> None:
        self._sending._transmission = None
        self._sending._guard.__exit__(None, None, None)
        if self._daemon is not None:
            self._daemon.close()
        if self._progress is not None:
            self._progress(self._run.report())

    async def carry(self, pieces: Iterable[Piece]) -> None:
        """Send all of it; a checkpoint.

        When this is cancelled, the transmission has stopped, and its report is exact.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._run.feed(iter(pieces))
        backoff = SHORTEST_BACKOFF
        while True:
            self._sending._check_usable()
            before = self._run.packets
            outcome = await self._step()
            self._show_progress()
            if self._run.packets > before:
                backoff = SHORTEST_BACKOFF
            if outcome is Outcome.DONE:
                return
            if outcome is Outcome.LATER:
                await self._sleep_until_due()
            elif outcome is Outcome.FULL:
                await self._sending._wait_writable()
            elif outcome is Outcome.BUSY:
                await self._sending._sleep(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF)

    async def _step(self) -> Outcome:
        try:
            if self._inline <= 0:
                return await self._step_in_thread()
            self._inline -= QUOTA
            outcome = self._run.step(QUOTA)
            await anyio.lowlevel.checkpoint()
            return outcome
        except ResourceClosedError:
            raise anyio.ClosedResourceError from None
        except PcapError:
            self._sending._on_failure()
            raise

    async def _step_in_thread(self) -> Outcome:
        if self._daemon is None:
            self._daemon = Daemon(self._run.step, "aiopcap-sender")
        bell, future = self._daemon.fileno(), self._daemon.call()
        try:
            while not future.done():
                with anyio.CancelScope(deadline=self._next_progress):
                    await anyio.wait_readable(bell)
                self._show_progress()
        except BaseException:
            self._run.stop()
            try:
                with anyio.CancelScope(shield=True):
                    while not future.done():
                        await anyio.wait_readable(bell)
            finally:
                # A shield of anyio's does not hold off asyncio's own Task.cancel().
                futures.wait([future])
            raise
        self._daemon.clear()
        return future.result()

    async def _sleep_until_due(self) -> None:
        """Sleep on the event loop's clock, and leave the last stretch to C."""
        begun, left = anyio.current_time(), self._run.seconds_left()
        until = begun + left - LEAD
        while (now := anyio.current_time()) < until:
            await self._sending._sleep(max(0.0, min(until, self._next_progress) - now))
            self._show_progress()
        slept, passed = anyio.current_time() - begun, left - self._run.seconds_left()
        if slept - passed > VIRTUAL:
            self._run.skip(slept - passed)

    def _show_progress(self) -> None:
        if self._progress is None or anyio.current_time() < self._next_progress:
            return
        # From now, not from when it was due: a slow callback is not called all the time.
        self._next_progress = anyio.current_time() + self._interval
        try:
            self._progress(self._run.report())
        except BaseException:
            self._progress = None
            raise


class Target(Protocol):
    """What packets can be transmitted on: an open `LiveCapture`."""

    _sending: Sending


def sending_of(target: Target, linktypes: Iterable[LinkType]) -> Sending:
    """Return the sending side of what a user wants to transmit on.

    Raises:
        TypeError: If it has none.

    Warns:
        PcapWarning: If one of the packets' link types is not the device's.
    """
    sending = getattr(target, "_sending", None)
    if not isinstance(sending, Sending):
        raise TypeError(f"packets are sent on a live capture, not on {target!r}")
    sending._check_usable()
    sender = sending.sender
    sender.check()
    for linktype in linktypes:
        if linktype != sender.linktype:
            message = (
                f"{sender.device}: packets of link type {LinkType(linktype).name} are sent on a "
                f"device of {sender.linktype.name}"
            )
            warnings.warn(message, PcapWarning, stacklevel=3)
    return sending
