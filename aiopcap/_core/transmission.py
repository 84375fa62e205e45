"""Batches on their way out: when each packet is due, and how far it is."""

import errno
import math
import operator
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.errors import SendError
from aiopcap._core.sender import Frame, FrameSender
from aiopcap._native import ffi, lib

# What WinPcap's send queues count for each packet beside its bytes: a record header of a savefile.
RECORD_HEADER_BYTES = 16

# C waits for what is due within this; a longer wait is the event loop's, which can be cancelled.
HORIZON_NS = 20_000_000

# The margins of `_native/send.c` in which it spins instead of sleeping: at least, and at most.
_SPIN_NS = {"exact": (300_000, 5_000_000), "gentle": (30_000, 30_000)}

# What the rates divide, to give a schedule's nanoseconds: of time stamp, packet and byte.
_NS_PER_UNIT = {"speed": 1.0, "pps": 1e9, "bits_per_second": 8e9}

_UNLIMITED = 2**63


class Outcome(Enum):
    """Why a step came back."""

    DONE = "everything was sent"
    MORE = "there is more to send at once"
    LATER = "the next packet is not due for `seconds_left()`"
    FULL = "the buffer is full until the descriptor is writable"
    BUSY = "the device's queue is full, and nothing tells when it is not"
    STOPPED = "it was asked to stop"


_OUTCOMES = {
    lib.AIOPCAP_SENT_ALL: Outcome.DONE,
    lib.AIOPCAP_SEND_MORE: Outcome.MORE,
    lib.AIOPCAP_SEND_LATER: Outcome.LATER,
    lib.AIOPCAP_SEND_FULL: Outcome.FULL,
    lib.AIOPCAP_SEND_BUSY: Outcome.BUSY,
    lib.AIOPCAP_SEND_STOPPED: Outcome.STOPPED,
}


def check_counts(**counts: int | None) -> None:
    """Raise ValueError unless each is positive, or None; TypeError unless it is an integer."""
    for name, value in counts.items():
        if value is not None and operator.index(value) < 1:
            raise ValueError(f"{name} is at least 1, or None, and not {value}")


@dataclass(frozen=True, slots=True)
class Pacing:
    """When packets are due; at once, where nothing is given.

    Attributes:
        sync: By their time stamps.
        speed: How many times as fast as these.
        pps: Evenly, so many in a second.
        bits_per_second: Evenly, by the bits of the frames.
        timing: "exact" or "gentle".
    """

    sync: bool = False
    speed: float = 1.0
    pps: float | None = None
    bits_per_second: float | None = None
    timing: str = "exact"

    def __post_init__(self) -> None:
        if self.sync + (self.pps is not None) + (self.bits_per_second is not None) > 1:
            raise ValueError("sync, pps and bits_per_second exclude each other")
        for name, ns in _NS_PER_UNIT.items():
            value = getattr(self, name)
            # The time of one must be finite as well.
            if value is not None and not (0 < value < math.inf and ns / value < math.inf):
                raise ValueError(f"{name} must be a positive, finite number, not {value}")
        if self.speed != 1.0 and not self.sync:
            raise ValueError("speed is a factor for the time stamps: it needs sync=True")
        if self.timing not in _SPIN_NS:
            raise ValueError(f"timing is 'exact' or 'gentle', not {self.timing!r}")

    @property
    def paced(self) -> bool:
        """Whether packets wait for their time."""
        return self.sync or self.pps is not None or self.bits_per_second is not None

    def native(self) -> Any:
        """Return a native transmission with this schedule."""
        run = ffi.new("aiopcap_transmission *")
        run.pace = lib.AIOPCAP_PACE_NONE
        for name, pace, value in (
            ("speed", lib.AIOPCAP_PACE_TIMESTAMPS, self.speed if self.sync else None),
            ("pps", lib.AIOPCAP_PACE_PACKETS, self.pps),
            ("bits_per_second", lib.AIOPCAP_PACE_BYTES, self.bits_per_second),
        ):
            if value is not None:
                run.pace, run.ns_per_unit = pace, _NS_PER_UNIT[name] / value
        run.least_spin_ns, run.most_spin_ns = _SPIN_NS[self.timing]
        run.spin_ns = run.least_spin_ns
        run.horizon_ns = HORIZON_NS
        return run


@dataclass(frozen=True, slots=True)
class TransmitReport:
    """What was sent, and in which time.

    Attributes:
        packets: How many packets were sent.
        nbytes: How many bytes these had.
        elapsed: Seconds from the first packet to the last, both included.
        truncated: How many were left out, because a snaplen had cut them.
        passes: How often everything was sent.
        next_index: The first packet that was not sent in the pass that was not finished; 0 when
            all were.
    """

    packets: int = 0
    nbytes: int = 0
    elapsed: float = 0.0
    truncated: int = 0
    passes: int = 0
    next_index: int = 0

    @property
    def queue_nbytes(self) -> int:
        """What WinPcap's `pcap_sendqueue_transmit` returns: 16 bytes more for each packet."""
        return self.nbytes + RECORD_HEADER_BYTES * self.packets

    @property
    def packets_per_second(self) -> float:
        """The mean rate; 0 where nothing took any time."""
        return self.packets / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def bits_per_second(self) -> float:
        """The mean rate of the frames' bits; 0 where nothing took any time."""
        return 8 * self.nbytes / self.elapsed if self.elapsed > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch to send, from a row on.

    Attributes:
        batch: The packets.
        first: The row.
        index: The number of the batch's first packet in its pass.
        begins_pass: Whether time stamps count from here on.
    """

    batch: PacketBatch
    first: int = 0
    index: int = 0
    begins_pass: bool = False


class Transmission:
    """Sends pieces, one behind the other, on one schedule.

    A step may run in a thread, one at a time; `stop` and `report` may be called beside it.

    Args:
        sender: Where they go.
        pacing: When.
        send_truncated: Also send packets that a snaplen has cut.
        limit: The most packets to send.
    """

    def __init__(
        self,
        sender: FrameSender,
        pacing: Pacing,
        *,
        send_truncated: bool,
        limit: int | None = None,
    ) -> None:
        self.sender = sender
        self._limit = _UNLIMITED if limit is None else limit
        self.pacing = pacing
        self._run = pacing.native()
        self._run.send_truncated = send_truncated
        self._pieces: Iterator[Piece] = iter(())
        self._piece: Piece | None = None
        self._native: Any = None
        self._passes = 0
        self._next_index = 0
        self._stale_at = -1
        self._lock = threading.Lock()
        sender.check()

    def feed(self, pieces: Iterator[Piece]) -> None:
        """Give it more to send, after what it had before."""
        self._pieces = pieces

    def step(self, quota: int = _UNLIMITED) -> Outcome:
        """Send until there is a reason to come back.

        Args:
            quota: The most packets to send.

        Raises:
            SendError: If a packet could not be sent.
        """
        run = self._run
        enough = min(run.packets + quota, self._limit)
        with self.sender.resource:
            self.sender.aim(run)
            while self._piece is not None or self._take():
                run.quota = min(enough - run.packets, 2**32 - 1)
                status = lib.aiopcap_transmit(run, self._native[0])
                if status == lib.AIOPCAP_SEND_FAILED:
                    self._check_failure()
                elif status == lib.AIOPCAP_SENT_ALL:
                    self._drop_piece()
                elif status == lib.AIOPCAP_SEND_MORE and run.packets == self._limit:
                    break
                else:
                    return _OUTCOMES[status]
        return Outcome.DONE

    @property
    def at_limit(self) -> bool:
        """Whether the limit was reached, with a packet left."""
        return self.packets == self._limit and self._piece is not None

    def _take(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        run = self._run
        self._native = piece.batch._native()
        with self._lock:
            run.next = piece.first
            self._piece = piece
        # A first batch of which nothing was sent leaves it to the next.
        run.begins_pass |= piece.begins_pass
        return True

    def _drop_piece(self) -> None:
        piece = self._piece
        assert piece is not None
        with self._lock:
            self._next_index = piece.index + len(piece.batch)
            self._piece = None

    def count_sent(self, frames: list[Frame]) -> None:
        """Count frames that were sent before, in another way."""
        self._run.packets += len(frames)
        self._run.nbytes += sum(memoryview(frame).nbytes for frame in frames)

    def end_pass(self) -> None:
        """Count a pass; called where the pieces come from, behind the last of a pass."""
        with self._lock:
            self._passes += 1
            self._next_index = 0

    def stop(self) -> None:
        """Have the step that is running come back within the milliseconds of one system call."""
        self._run.stop = 1

    def seconds_left(self) -> float:
        """Return how long it is until the next packet is due."""
        return float(self._run.due_ns - lib.aiopcap_monotonic_ns()) / 1e9

    def skip(self, seconds: float) -> None:
        """Take note that the event loop's clock ran ahead of the machine's, as a test's does."""
        for name in ("began_ns", "start_ns", "due_ns", "latest_due_ns"):
            setattr(self._run, name, getattr(self._run, name) - round(seconds * 1e9))

    @property
    def packets(self) -> int:
        """How many packets were sent."""
        return int(self._run.packets)

    def report(self) -> TransmitReport:
        """Return how far it is; exact when no step is running."""
        run = self._run
        with self._lock:
            piece = self._piece
            index = self._next_index if piece is None else piece.index + run.next
            passes = self._passes
        return TransmitReport(
            packets=run.packets,
            nbytes=run.nbytes,
            elapsed=(run.last_ns - run.began_ns) / 1e9 if run.packets else 0.0,
            truncated=run.truncated,
            passes=passes,
            next_index=index,
        )

    def _check_failure(self) -> None:
        """Raise what the native call met, unless it is over."""
        run, piece = self._run, self._piece
        assert piece is not None
        row, number = run.next, run.error
        if number == errno.EFAULT:
            raise ValueError(f"packet {row}: its bytes are outside the batch's data")
        if self._stale_at != run.packets and self.sender.is_stale(number):
            self._stale_at = run.packets
            return
        cause = self.sender.error(number, piece.batch.captured_lengths[row])
        index = piece.index + row
        error = SendError(f"packet {index}: {cause}", index, run.packets, run.nbytes)
        raise error from cause
