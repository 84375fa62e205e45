"""Writing a savefile: records gathered in buffers, written in large pieces, errors reported.

libpcap's own dumper writes through stdio and tells nobody when the disk is full, and copies
whatever length a packet claims; hence this one.

There are two buffers. While a thread writes one, the other is filled; so a disk costs time only
when it is slower than the packets come, and memory has a bound whatever it does.
"""

import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import ByteTarget
from aiopcap._core.errors import SavefileWriteError, copy_of
from aiopcap._core.interfaces import InterfaceStatistics
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._core.recordbuffer import BUFFER_BYTES, RecordBuffer
from aiopcap._core.resource import Owner
from aiopcap._core.rotatingtarget import RotatingTarget
from aiopcap._core.rotation import FileMeter
from aiopcap._core.savefileformat import CheckedBatch, Key, SavefileFormat
from aiopcap._core.savefileoutput import SavefileOutput


class SavefileWriter:
    """A savefile that grows, or several in a rotation.

    `append`, `append_batch` and `append_some` fill a buffer; when it has no room, or has to go,
    `hand_over` gives it to a thread and puts the other in its place. A write error is kept, and
    raised by every later call but `close`.

    Args:
        target: Owned; a `RotatingTarget` where there is a meter.
        format: For the file's header.
        buffer_bytes: The size of both buffers together.
        length: How many bytes the target has already, header included.
        surplus: How many bytes behind those have to go first.
        meter: Tells where a file of a rotation ends.
    """

    def __init__(
        self,
        target: ByteTarget | RotatingTarget,
        format: SavefileFormat,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        length: int = 0,
        surplus: int = 0,
        meter: FileMeter | None = None,
    ) -> None:
        self.format = format
        self._encoder = format.encoder()
        header = format.header()
        self._owner = Owner(f"the dumper of {target.name or 'a savefile'}")
        self._output = SavefileOutput(target, header, length, surplus)
        self._header_bytes = len(header)
        self._length = length or len(header)
        self._finished_length = 0
        self._meter = meter
        self._buffer_bytes = max(1, buffer_bytes // 2)
        self._filling = self._new_buffer()
        self._spare: RecordBuffer | None = None
        self._begun = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiopcap-dumper")
        self._writing: Future[None] | None = None
        self._failure: Exception | None = None
        self._reported = False
        self._finishing = threading.Lock()
        self._finished = False

    # -- packets ---------------------------------------------------------------------------------

    def tell(self) -> int:
        """Return the file's length in bytes, with what is still in the buffers.

        In a rotation, of the file that the last packet went to; after an error, what is written.
        """
        return self._length if self._failure is None else self._output.length

    def tell_all(self) -> int:
        """Return the length of all files of a rotation in bytes, as `tell` of the last."""
        return self._finished_length + self.tell()

    @property
    def least_bytes(self) -> int:
        """How many bytes a packet takes at the least."""
        return self._encoder.least_bytes

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files of a rotation that are still there, the oldest first."""
        return self._output.files

    def end_file(self) -> None:
        """Have the next packet go to the next file of a rotation.

        Raises:
            ValueError: If there is no rotation.
        """
        if self._meter is None:
            raise ValueError("only a rotation has a next file")
        self._meter.end_file()

    def append(self, packet: Packet) -> bool:
        """Put a packet into the buffer; False, with nothing changed, when it has no room.

        Raises:
            ValueError: If the packet cannot be written as it is.
        """
        self.check()
        self.format.check(packet)
        encoder, buffer = self._encoder, self._filling
        keys, record_bytes = encoder.keys(packet), encoder.size(packet)
        if not buffer.make_room(encoder.description_bytes(keys) + record_bytes):
            return False
        self._make_way(keys, record_bytes)
        buffer.append(packet)
        self._length += record_bytes
        if self._meter is not None:
            self._meter.add(1)
        self._hurry()
        return True

    def check_batch(self, batch: PacketBatch) -> CheckedBatch:
        """Return the batch as C takes it, when all of it can be written.

        Raises:
            ValueError: If one of its packets cannot; none of them is written then.
        """
        self.check()
        return self.format.check_batch(batch)

    def append_batch(self, checked: CheckedBatch) -> bool:
        """Put a checked batch into the buffer; False, with nothing changed, without room."""
        self.check()
        # In a rotation, each file describes its interfaces.
        files = 1 if self._meter is None else 1 + checked.native.count
        descriptions = files * self._encoder.description_bytes(checked.keys)
        if not self._filling.make_room(descriptions + checked.record_bytes):
            return False
        self.append_some(checked, 0)
        return True

    def needs(self, checked: CheckedBatch, row: int) -> int:
        """Return how many bytes a row of a checked batch adds to the file."""
        described = self._encoder.description_bytes(checked.keys, missing=True)
        return described + self._encoder.row_size(checked, row)

    def append_some(self, checked: CheckedBatch, first: int, most_bytes: float = math.inf) -> int:
        """Put packets of a checked batch into the buffer while it has room, from first on.

        Args:
            checked: The batch.
            first: The number of the first packet.
            most_bytes: How many bytes the file, or all of a rotation, may grow by.

        Returns:
            The number of the first packet that is not in the buffer.
        """
        self.check()
        encoder, buffer = self._encoder, self._filling
        end = self.tell_all() + most_bytes
        descriptions = encoder.description_bytes(checked.keys)
        while first < checked.native.count:
            record_bytes = encoder.row_size(checked, first)
            if self.tell_all() + self.needs(checked, first) > end:
                break
            if not buffer.make_room(descriptions + record_bytes):
                break
            self._make_way(checked.keys, record_bytes)
            rows, nbytes = sys.maxsize, sys.maxsize
            if self._meter is not None:
                rows, nbytes = self._meter.room(self._length, record_bytes)
            before = buffer.used
            left = int(min(nbytes, end - self.tell_all()))
            after = buffer.append_rows(checked, first, rows, left)
            self._length += buffer.used - before
            if self._meter is not None:
                self._meter.add(after - first)
            first = after
        self._hurry()
        return first

    def append_statistics(
        self, linktype: LinkType | None, interface: str | None, statistics: InterfaceStatistics
    ) -> bool:
        """Put an interface's counters into the buffer; False, with nothing changed, without room.

        Raises:
            ValueError: If the format has no place for them.
        """
        self.check()
        encoder = self._encoder
        keys, block = encoder.statistics(linktype, interface, statistics)
        if not self._filling.make_room(encoder.description_bytes(keys) + len(block)):
            return False
        self._make_way(keys, len(block))
        _, block = encoder.statistics(linktype, interface, statistics)
        self._filling.append_bytes(block)
        self._length += len(block)
        return True

    def _make_way(self, keys: tuple[Key, ...], record_bytes: int) -> None:
        """Begin the next file where a record goes there, and describe what it refers to."""
        encoder, buffer, meter = self._encoder, self._filling, self._meter
        if meter is not None:
            needed = encoder.description_bytes(keys, missing=True) + record_bytes
            if meter.is_over(self._length, needed):
                meter.begin()
                buffer.cut(time.time())
                encoder.begin_file()
                self._finished_length += self._length
                self._length = self._header_bytes
        if description := encoder.describe(keys):
            buffer.append_bytes(description)
            self._length += len(description)

    def _hurry(self) -> None:
        """Have a file that is over finished, though the buffer has room."""
        if self._filling.cuts and not self.busy:
            self.hand_over()

    def _new_buffer(self) -> RecordBuffer:
        return RecordBuffer(self._encoder, self._buffer_bytes)

    @property
    def takes_records(self) -> bool:
        """Whether others may write pcap records into the buffer: of one file, in that format."""
        return self.format.name == "pcap" and self._meter is None

    @property
    def room(self) -> int:
        """How many bytes of records the buffer has room for."""
        return self._filling.room

    def fill(self, write: Callable[[Any, int], int]) -> None:
        """Have records written into the buffer.

        Args:
            write: Called with where they go and how many bytes at most; returns how many it wrote.
        """
        self.check()
        before = self._filling.used
        self._filling.fill(write)
        self._length += self._filling.used - before

    # -- writing ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the thread is still writing; the buffer cannot be handed over then."""
        return self._writing is not None and not self._writing.done()

    def hand_over(self) -> None:
        """Have the thread write the buffer, and go on with the other."""
        self.check()
        full = self._filling
        if full.used or not self._begun:
            self._filling = self._spare or self._new_buffer()
            self._spare = full
            self._begun = True
            self._submit(self._write, full)

    def flush(self, *, sync: bool) -> None:
        """Have the thread write the buffer, so that others can read all that is written.

        Args:
            sync: Have it also bring to the disk what was written, now and before.
        """
        self.hand_over()
        self._submit(self._output.flush)
        if sync:
            self._submit(self._output.sync)

    def wait(self) -> None:
        """Block until the thread has written what it was given."""
        if self._writing is not None:
            self._writing.result()

    def check(self) -> None:
        """Raise the error that writing met, if it met one.

        Raises:
            SavefileWriteError: With a regular file ending with its last whole record.
            RuntimeError: In a fork, whose buffers are copies of what its parent will write.
        """
        self._owner.check()
        if self._failure is not None:
            self._reported = True
            raise copy_of(self._failure)

    def finish(self) -> None:
        """Write everything and close the target; blocks. Once, however often it is called.

        Raises:
            SavefileWriteError: If that fails; an error that was raised before is not raised again.
        """
        with self._finishing:
            if self._finished:
                return
            self._finished = True
            try:
                if not self._owner.is_other:
                    self._write_rest()
            finally:
                self.close()

    def _write_rest(self) -> None:
        self.wait()
        if not self._reported:
            self.hand_over()
            self._submit(self._output.finish)
            self.wait()
            self.check()

    def close(self) -> None:
        """Close the target, without writing what is in the buffer.

        Raises:
            SavefileWriteError: If the system reports an error of before only now.
        """
        self._thread.shutdown(wait=False)
        try:
            self._output.close()
        except OSError as exc:
            if not self._reported:
                raise SavefileWriteError.of(exc, self._output.name) from exc

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._writing = self._thread.submit(self._work, function, *arguments)
        except RuntimeError:
            # The interpreter is on its way out and starts no more threads.
            self._work(function, *arguments)

    def _work(self, function: Callable[..., None], *arguments: Any) -> None:
        # In the thread. Behind a gap nothing is written, and whatever a file object raises has to
        # reach the one who sends.
        if self._failure is not None:
            return
        try:
            function(*arguments)
        except OSError as exc:
            self._failure = SavefileWriteError.of(exc, self._output.name)
        except Exception as exc:
            self._failure = copy_of(exc)

    def _write(self, buffer: RecordBuffer) -> None:
        try:
            self._output.write(buffer)
        finally:
            buffer.clear()
