"""Writing a savefile: records gathered in a buffer, written in large pieces, errors reported.

libpcap's own dumper writes through stdio and tells nobody when the disk is full, and copies
whatever length a packet claims; hence this one.
"""

import struct
from typing import Any

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import ByteTarget
from aiopcap._core.errors import SavefileWriteError
from aiopcap._core.filter import check_snaplen
from aiopcap._core.linktype import LinkType, linktype_to_file
from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

BUFFER_BYTES = 1024 * 1024
FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
MAX_TIMESTAMP_NS = (2**32 - 1) * 1_000_000_000 + 999_999_999

_MAGIC = {"nano": 0xA1B23C4D, "micro": 0xA1B2C3D4}


class SavefileWriter:
    """A pcap file that grows.

    `append` and `append_batch` only fill a buffer; `drain` writes it, and may block.

    Args:
        target: Owned.
        linktype: What every packet begins with.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
    """

    def __init__(
        self, target: ByteTarget, *, linktype: LinkType, snaplen: int, precision: str
    ) -> None:
        check_snaplen(snaplen)
        if precision not in _MAGIC:
            raise ValueError(f"precision is 'nano' or 'micro', not {precision!r}")
        self.linktype = linktype
        self.snaplen = snaplen
        self.precision = precision
        self._target = target
        self._buffer = bytearray(BUFFER_BYTES)
        self._native = ffi.from_buffer("uint8_t[]", self._buffer)
        self._drained = 0
        self._failure: SavefileWriteError | None = None
        self._divisor = 1 if precision == "nano" else 1000
        number = linktype_to_file(linktype)
        header = (_MAGIC[precision], 2, 4, 0, 0, snaplen, number)
        struct.pack_into("=IHHiIII", self._buffer, 0, *header)
        self._used = FILE_HEADER_BYTES

    def tell(self) -> int:
        """Return the file's length in bytes, with what is still in the buffer."""
        return self._drained + self._used

    @property
    def failed(self) -> bool:
        """Whether a write error was raised already."""
        return self._failure is not None

    def append(self, packet: Packet) -> bool:
        """Put a packet into the buffer; False, with nothing changed, when it has no room.

        Raises:
            ValueError: If the packet cannot be written as it is.
            SavefileWriteError: If writing failed before.
        """
        self._check_usable()
        captured, timestamp_ns = len(packet), packet.timestamp_ns
        if captured > packet.wire_length:
            self._refuse(lib.AIOPCAP_ROW_LENGTHS, packet)
        if captured > self.snaplen:
            self._refuse(lib.AIOPCAP_ROW_SNAPLEN, packet)
        if not 0 <= timestamp_ns <= MAX_TIMESTAMP_NS:
            self._refuse(lib.AIOPCAP_ROW_TIME, packet)
        if packet.linktype is not None and packet.linktype != self.linktype:
            self._refuse_linktype(packet.linktype)
        at = self._used
        start = at + RECORD_HEADER_BYTES
        if start + captured > len(self._buffer):
            if at:
                return False
            self._grow(start + captured)
        seconds, ns = divmod(timestamp_ns, 1_000_000_000)
        fraction = ns // self._divisor
        struct.pack_into("=IIII", self._buffer, at, seconds, fraction, captured, packet.wire_length)
        self._buffer[start : start + captured] = packet.data
        self._used = start + captured
        return True

    def check_batch(self, batch: PacketBatch) -> Any:
        """Return the batch as C takes it, for `append_batch`, when all of it can be written.

        Raises:
            ValueError: If one of its packets cannot; none of them is written then.
        """
        self._check_usable()
        if batch.linktype != self.linktype:
            self._refuse_linktype(batch.linktype)
        native, keep = batch.native()
        row = ffi.new("uint32_t *")
        fault = lib.aiopcap_check_rows(native, self.snaplen, row)
        if fault == lib.AIOPCAP_ROW_OUTSIDE:
            raise ValueError(f"packet {row[0]}: its bytes are outside the batch's data")
        if fault != lib.AIOPCAP_ROW_FINE:
            self._refuse(fault, batch[row[0]], row[0])
        return native, keep

    def append_batch(self, checked: Any, first: int) -> int:
        """Put packets from number first on into the buffer; returns the first that did not fit."""
        self._check_usable()
        native = checked[0]
        if self._used == 0 and first < native.count:
            self._grow(RECORD_HEADER_BYTES + native.captured_lengths[first])
        used = ffi.new("size_t *")
        after: int = lib.aiopcap_encode_rows(
            native,
            first,
            self.precision == "nano",
            self._native + self._used,
            len(self._buffer) - self._used,
            used,
        )
        self._used += used[0]
        return after

    def drain(self) -> None:
        """Write the buffer.

        Raises:
            SavefileWriteError: If that failed; the file then ends with its last whole record.
        """
        self._check_usable()
        view = memoryview(self._buffer)[: self._used]
        done = 0
        try:
            while done < len(view):
                done += self._target.write(view[done:])
        except OSError as exc:
            self._fail(exc, done)
        finally:
            view.release()
        self._drained += done
        self._used = 0

    def sync(self) -> None:
        """Return when what was drained is on the disk.

        Raises:
            SavefileWriteError: If the system could not write it.
        """
        self._check_usable()
        try:
            self._target.sync()
        except OSError as exc:
            self._fail(exc, 0)

    def close(self) -> None:
        """Close the target, without draining.

        Raises:
            SavefileWriteError: If the system reports a write error only now.
        """
        try:
            self._target.close()
        except OSError as exc:
            raise SavefileWriteError(exc, self._target.name) from exc

    def _grow(self, size: int) -> None:
        if size > len(self._buffer):
            self._buffer = bytearray(size)
            self._native = ffi.from_buffer("uint8_t[]", self._buffer)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, cause: OSError, done: int) -> None:
        header = FILE_HEADER_BYTES if self._drained == 0 else 0
        whole = 0
        if done > header:
            whole = header + lib.aiopcap_whole_records(self._native + header, done - header)
        self._failure = SavefileWriteError(cause, self._target.name)
        try:
            self._target.cut(done - whole)
            self._drained += whole
        except OSError:
            self._drained += done
        self._used = 0
        raise self._failure from cause

    def _refuse(self, fault: int, packet: Packet, row: int | None = None) -> None:
        words = {
            lib.AIOPCAP_ROW_LENGTHS: (
                f"it has {len(packet)} bytes, but a wire length of {packet.wire_length}"
            ),
            lib.AIOPCAP_ROW_SNAPLEN: (
                f"it has {len(packet)} bytes, more than the file's snaplen of {self.snaplen}"
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
            f"packets of link type {linktype.name} cannot be written to a file of "
            f"{self.linktype.name}"
        )
