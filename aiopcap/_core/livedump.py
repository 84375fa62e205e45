"""What a live source captures, on its way to a savefile in a thread of its own.

From the kernel's ring to the file there is no Python object for a packet, and no event loop. The
thread has packets written from the ring into the writer's buffer as records, and waits for the
next; when both of the writer's buffers are on their way to a slow disk, packets wait in the ring.
"""

import atexit
import math
import operator
import select
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiopcap._core.batch import PacketBatch
from aiopcap._core.daemon import Bell
from aiopcap._core.live import BATCH_PACKETS, LEAST_ROOM, LiveSource
from aiopcap._core.resource import Owner, ResourceClosedError
from aiopcap._core.writer import SavefileWriter

# Seconds until an idle thread notices that what it gave to the writer could not be written.
NOTICE = 0.25

DumpReason = Literal["max_bytes", "max_packets", "stopped", "closed"]


@dataclass(frozen=True, slots=True)
class DumpLimits:
    """Where a dump ends by itself, checked; 0 is no limit.

    Attributes:
        max_bytes: The most bytes of the file, its header included; of no rotation.
        max_packets: The most packets in it.
        header_bytes: The length of its header.
    """

    max_bytes: int = 0
    max_packets: int = 0
    header_bytes: int = 0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_packets"):
            if operator.index(value := getattr(self, name)) < 0:
                raise ValueError(f"{name} is 0 for no limit, or positive, and not {value}")
        if 0 < self.max_bytes < self.header_bytes:
            raise ValueError(
                f"max_bytes must have room for the file's header of {self.header_bytes} bytes, "
                f"which {self.max_bytes} has not"
            )


@dataclass(frozen=True, slots=True)
class DumpReport:
    """What a live dump has written, when it has ended.

    Attributes:
        packets: How many packets are in the file.
        nbytes: How many bytes it has, its header included; in a rotation, all files together.
        reason: Why it ended: at a limit ("max_bytes", "max_packets"), by `LiveDump.stop`
            ("stopped"), or with its capture ("closed").
    """

    packets: int
    nbytes: int
    reason: DumpReason


class Recording:
    """Writes all that comes, up to the limits, or until it is stopped.

    `run` is for the thread; the rest may be called beside it.

    Args:
        source: Read by nobody else until `run` has returned.
        writer: Owned.
        limits: Never exceeded.

    Attributes:
        packets: How many were written so far, or are in the writer's buffers.
        nbytes: How long the file is with these.
    """

    def __init__(self, source: LiveSource, writer: SavefileWriter, limits: DumpLimits) -> None:
        self.owner: Owner = Owner(f"the live dump of {source.device}")
        self._source = source
        self._writer = writer
        self._most_packets = limits.max_packets or math.inf
        self._most_bytes = limits.max_bytes or math.inf
        self._refused = False
        self._least_room = LEAST_ROOM + source.snaplen
        self._bell = Bell()
        self._stopped: DumpReason | None = None
        self._over = threading.Event()
        self.packets: int = 0
        self.nbytes: int = writer.tell_all()

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files of a rotation that are still there, the oldest first."""
        return self._writer.files

    def stop(self, reason: DumpReason) -> None:
        """Let `run` end: with what was captured until now, as far as the kernel handed it over."""
        self._stopped = self._stopped or reason
        self.wake()

    def wake(self) -> None:
        """Have the thread look what there is, where no descriptor tells of it."""
        # A fork shares the pipe, and not the thread.
        if not self.owner.is_other:
            self._bell.ring()

    def run(self) -> DumpReport:
        """Write until it has to end, and close the file.

        Raises:
            SavefileWriteError: If the file could not be written; it ends with a whole record.
            PcapError: If the device failed; the packets before that are in the file.
            ValueError: If a packet cannot be written as it is.
        """
        _running.add(self)
        try:
            try:
                reason = self._move_all()
            except ResourceClosedError:
                reason = self._stopped or "closed"
            finally:
                self._writer.finish()
            return DumpReport(self.packets, self.nbytes, reason)
        finally:
            self.nbytes = self._writer.tell_all()
            self._bell.close()
            self._over.set()
            _running.discard(self)

    def join(self) -> None:
        """Block until `run` has come to its end."""
        self._over.wait()

    # -- in the thread ---------------------------------------------------------------------------

    def _move_all(self) -> DumpReason:
        while self._stopped is None:
            if (limit := self._limit()) is not None:
                return limit
            if not self._move():
                self._wait()
        # What had come until then is written, but not all of a flood that goes on.
        until = self.packets + self._source.unread()
        while self.packets < until and self._limit() is None:
            if not self._move():
                break
        return self._limit() or self._stopped

    def _limit(self) -> DumpReason | None:
        if self.packets >= self._most_packets:
            return "max_packets"
        if self._refused or self._most_bytes - self.nbytes < self._writer.least_bytes:
            return "max_bytes"
        return None

    def _move(self) -> bool:
        """Bring packets from the source to the writer; False where there are no more now."""
        if self._writer.room < self._least_room and not self._writer.busy:
            self._writer.hand_over()
        # A filter that is set meanwhile holds for what is not in the writer's buffer yet.
        with self._source.turn:
            if self._has_room_for_any() and (count := self._record_directly()):
                return count == BATCH_PACKETS or self._writer.room < self._least_room
            batch = self._source.read_batch()
            if batch is None:
                return False
            taken = 0
            try:
                taken = self._append(batch)
            finally:
                if taken < len(batch):
                    self._source.put_back(batch[taken:])
        if taken == 0:
            # A disk takes its time, and meanwhile it is others' turn.
            self._writer.wait()
            self._writer.hand_over()
        return True

    def _has_room_for_any(self) -> bool:
        """Whether as much as one call reads has room everywhere, whatever it is."""
        if not self._writer.takes_records:
            return False
        room = min(self._writer.room, self._most_bytes - self.nbytes)
        return room >= self._least_room and self._most_packets - self.packets >= BATCH_PACKETS

    def _record_directly(self) -> int:
        """Have packets that are there written from the ring to the buffer; returns how many.

        Most go this way. Where room is short they go in batches, whose rest can be put back.
        """
        before = self.packets
        self._writer.fill(self._record)
        self.nbytes = self._writer.tell_all()
        return self.packets - before

    def _record(self, out: Any, room: int) -> int:
        count, nbytes = self._source.record(
            out,
            int(min(room, self._most_bytes - self.nbytes)),
            nanoseconds=self._writer.format.precision == "nano",
        )
        self.packets += count
        return nbytes

    def _append(self, batch: PacketBatch) -> int:
        """Give the writer a batch's first packets, as many as may be; returns how many."""
        if len(batch) > self._most_packets - self.packets:
            batch = batch[: int(self._most_packets) - self.packets]
        checked = self._writer.check_batch(batch)
        taken = self._writer.append_some(checked, 0, self._most_bytes - self.nbytes)
        self.nbytes = self._writer.tell_all()
        room = self._most_bytes - self.nbytes
        self._refused = taken < len(batch) and self._writer.needs(checked, taken) > room
        self.packets += taken
        return taken

    def _wait(self) -> None:
        """Wait until there may be a packet, or somebody calls."""
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        timeout: float | None = self._source.pause()
        if not timeout:
            fd, timeout = self._source.readiness()
            if fd >= 0:
                poll.register(fd, select.POLLIN)
            if self._writer.busy:
                timeout = NOTICE if timeout is None else min(timeout, NOTICE)
        poll.poll(None if timeout is None else timeout * 1000)
        self._bell.clear()
        self._writer.check()


_running: set[Recording] = set()


def _complete_all() -> None:
    """Have the files complete when the interpreter ends, which does not wait for the threads."""
    recordings = [recording for recording in _running if not recording.owner.is_other]
    for recording in recordings:
        recording.stop("closed")
    for recording in recordings:
        recording.join()


atexit.register(_complete_all)
