"""Writing a savefile: records gathered in buffers, written in large pieces, errors reported.

libpcap's own dumper writes through stdio and tells nobody when the disk is full, and copies
whatever length a packet claims; hence this one.

There are two buffers. While a thread writes one, the other is filled; so a disk costs time only
when it is slower than the packets come, and memory has a bound whatever it does.
"""

import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import ByteTarget
from aiopcap._core.errors import SavefileWriteError, copy_of
from aiopcap._core.filter import check_snaplen
from aiopcap._core.linktype import LinkType, linktype_to_file
from aiopcap._core.packet import Packet
from aiopcap._core.recordbuffer import RecordBuffer
from aiopcap._core.resource import Owner
from aiopcap._native import ffi, lib

MAX_TIMESTAMP_NS = (2**32 - 1) * 1_000_000_000 + 999_999_999

_MAGIC = {"nano": 0xA1B23C4D, "micro": 0xA1B2C3D4}


@dataclass(frozen=True, slots=True)
class SavefileFormat:
    """What the header of a pcap file says, checked.

    Attributes:
        linktype: What every packet begins with.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
        checksum_bits: The upper bits of the header's link type field, which tell how long the
            frames' checksums are.
    """

    linktype: LinkType
    snaplen: int
    precision: str
    checksum_bits: int = 0

    def __post_init__(self) -> None:
        check_snaplen(self.snaplen)
        if self.precision not in _MAGIC:
            raise ValueError(f"precision is 'nano' or 'micro', not {self.precision!r}")
        if linktype_to_file(self.linktype) > 0xFFFF:
            raise ValueError(f"link type {self.linktype} has no number in savefiles")

    def header(self) -> bytes:
        """Return the 24 bytes."""
        number = linktype_to_file(self.linktype) | self.checksum_bits
        fields = (_MAGIC[self.precision], 2, 4, 0, 0, self.snaplen, number)
        return struct.pack("=IHHiIII", *fields)


class SavefileWriter:
    """A pcap file that grows.

    `append` and `append_batch` fill a buffer; when it has no room, or has to go, `hand_over`
    gives it to a thread and puts the other in its place. A write error is kept, and raised by
    every later call but `close`.

    Args:
        target: Owned.
        format: For the file's header.
    """

    def __init__(self, target: ByteTarget, format: SavefileFormat) -> None:
        self.format = format
        self._owner = Owner(f"the dumper of {target.name or 'a savefile'}")
        self._target = target
        self._nanoseconds = format.precision == "nano"
        self._filling = RecordBuffer(nanoseconds=self._nanoseconds, header=format.header())
        self._spare: RecordBuffer | None = None
        self._handed_over = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiopcap-dumper")
        self._writing: Future[None] | None = None
        self._failure: Exception | None = None
        self._reported = False
        self._finishing = threading.Lock()
        self._finished = False

    # -- packets ---------------------------------------------------------------------------------

    def tell(self) -> int:
        """Return the file's length in bytes, uncompressed, with what is still in the buffers."""
        return self._handed_over + self._filling.used

    def append(self, packet: Packet) -> bool:
        """Put a packet into the buffer; False, with nothing changed, when it has no room.

        Raises:
            ValueError: If the packet cannot be written as it is.
        """
        self.check()
        captured = len(packet)
        if captured > packet.wire_length:
            self._refuse(lib.AIOPCAP_ROW_LENGTHS, packet)
        if captured > self.format.snaplen:
            self._refuse(lib.AIOPCAP_ROW_SNAPLEN, packet)
        if not 0 <= packet.timestamp_ns <= MAX_TIMESTAMP_NS:
            self._refuse(lib.AIOPCAP_ROW_TIME, packet)
        if packet.linktype is not None and packet.linktype != self.format.linktype:
            self._refuse_linktype(packet.linktype)
        return self._filling.append(packet)

    def check_batch(self, batch: PacketBatch) -> Any:
        """Return the batch as C takes it, for `append_batch`, when all of it can be written.

        Raises:
            ValueError: If one of its packets cannot; none of them is written then.
        """
        self.check()
        if batch.linktype != self.format.linktype:
            self._refuse_linktype(batch.linktype)
        native, keep = batch._native()
        row, record_bytes = ffi.new("uint32_t *"), ffi.new("size_t *")
        fault = lib.aiopcap_check_rows(native, self.format.snaplen, row, record_bytes)
        if fault == lib.AIOPCAP_ROW_OUTSIDE:
            raise ValueError(f"packet {row[0]}: its bytes are outside the batch's data")
        if fault != lib.AIOPCAP_ROW_FINE:
            self._refuse(fault, batch[row[0]], row[0])
        return native, int(record_bytes[0]), keep

    def append_batch(self, checked: Any) -> bool:
        """Put a checked batch into the buffer; False, with nothing changed, without room."""
        self.check()
        return self._filling.append_rows(*checked[:2])

    # -- writing ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the thread is still writing; the buffer cannot be handed over then."""
        return self._writing is not None and not self._writing.done()

    def hand_over(self, then: Callable[[], None] | None = None) -> None:
        """Have the thread write the buffer, and then do something; go on with the other buffer."""
        self.check()
        full = self._filling
        if full.used == 0 and then is None:
            return
        self._filling = self._spare or RecordBuffer(nanoseconds=self._nanoseconds)
        self._spare = full
        self._handed_over += full.used
        try:
            self._writing = self._thread.submit(self._write, full, then)
        except RuntimeError:
            # The interpreter is on its way out and starts no more threads.
            self._write(full, then)

    def flush(self) -> None:
        """Have the thread write the buffer, so that others can read all that is written."""
        self.hand_over(self._target.flush)

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

    def sync(self) -> None:
        """Block until what was written is on the disk.

        Raises:
            SavefileWriteError: If the system could not write it.
        """
        self.check()
        try:
            self._target.sync()
        except OSError as exc:
            self._failure = SavefileWriteError.of(exc, self._target.name)
            self.check()

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
            self.hand_over(self._target.finish)
            self.wait()
            self.check()

    def close(self) -> None:
        """Close the target, without writing what is in the buffer.

        Raises:
            SavefileWriteError: If the system reports an error of before only now.
        """
        self._thread.shutdown(wait=False)
        try:
            self._target.close()
        except OSError as exc:
            raise SavefileWriteError.of(exc, self._target.name) from exc

    def _write(self, buffer: RecordBuffer, then: Callable[[], None] | None) -> None:
        # In the thread. Whatever a file object raises has to reach the one who sends.
        done = 0
        try:
            with buffer.view() as view:
                while done < len(view):
                    done += self._target.write(view[done:])
            if then is not None:
                then()
        except OSError as exc:
            self._failure = SavefileWriteError.of(exc, self._target.name)
        except Exception as exc:
            self._failure = copy_of(exc)
        if self._failure is not None:
            self._take_back(buffer, done)
        buffer.clear()

    def _take_back(self, buffer: RecordBuffer, done: int) -> None:
        whole = buffer.whole(done)
        try:
            self._target.cut(done - whole)
        except OSError:
            whole = done
        self._handed_over -= buffer.used - whole
        self._filling.clear()

    # -- refusing --------------------------------------------------------------------------------

    def _refuse(self, fault: int, packet: Packet, row: int | None = None) -> None:
        words = {
            lib.AIOPCAP_ROW_LENGTHS: (
                f"it has {len(packet)} bytes, but a wire length of {packet.wire_length}"
            ),
            lib.AIOPCAP_ROW_SNAPLEN: (
                f"it has {len(packet)} bytes, more than the file's snaplen of {self.format.snaplen}"
            ),
            lib.AIOPCAP_ROW_TIME: (
                f"its time stamp of {packet.timestamp_ns} ns does not fit in a pcap file, which "
                "spans 1970 to 2106"
            ),
        }
        where = "the packet" if row is None else f"packet {row}"
        raise ValueError(f"{where} cannot be written: {words[fault]}")

    def _refuse_linktype(self, linktype: LinkType) -> None:
        raise ValueError(
            f"packets of link type {LinkType(linktype).name} cannot be written to a file of "
            f"{self.format.linktype.name}"
        )
