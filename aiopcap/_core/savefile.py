"""Reading a savefile: bytes from a source, through the native parser, to batches."""

import time
from typing import Any

from aiopcap._core.batch import PacketBatch, RawData
from aiopcap._core.bytesource import ByteSource, Waiting
from aiopcap._core.columns import Columns, new_uncleared
from aiopcap._core.decompression import DecompressedBytes
from aiopcap._core.errors import PcapError, SavefileError, TruncatedSavefileError, copy_of, text
from aiopcap._core.filter import CompiledFilter, Filter, as_filter
from aiopcap._core.interfaces import Descriptions, Interface
from aiopcap._core.linktype import LinkType, linktype_from_file
from aiopcap._core.resource import Resource
from aiopcap._native import ffi, lib

# One read(2), and so at most the bytes of one batch. Smaller makes the calls show; larger holds the
# GIL for longer while it becomes a batch, and falls out of the processor's cache: with 2 MiB,
# another task of the loop ran 4.8 ms late beside `async for` (p99); with this 1.5 ms, and no less
# was read.
CHUNK_BYTES = 512 * 1024
BATCH_PACKETS = 8192

# Blocks without packets must not keep a call from coming back.
READS_PER_CALL = 64

# Seconds of reading, and chunks, that one visit to a thread is worth: getting there and back costs
# 0.1 to 0.3 ms.
READ_AHEAD = 0.002
READ_AHEAD_BATCHES = 16

# What is left of a chunk must be worth a system call.
LEAST_READ = 64 * 1024


class SavefileSource:
    """The packets of one savefile.

    A chunk is read into a buffer once, and batches refer to the packets where they lie in it; the
    buffer is never written again where they do. `prepare` must have returned True before anything
    but `fileno` and `close` is used.

    Args:
        source: Owned.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = DecompressedBytes(source)
        self.waiting: Waiting = self._source.waiting
        self.steady: bool = source.steady
        parser = lib.aiopcap_savefile_new()
        if not parser:
            raise MemoryError
        self._parser = ffi.gc(parser, lib.aiopcap_savefile_free)
        self._columns = Columns(BATCH_PACKETS)
        self._filter: Filter | None = None
        # What the reading thread filtered already, by the batch it was selected from.
        self._selected: dict[int, tuple[PacketBatch | None, Filter | None, PacketBatch]] = {}
        self.descriptions: Descriptions = Descriptions()
        self._at_end = False
        self._failure: Exception | None = None
        self._wanted = 0
        self._take_buffer(0)
        self.name: str = source.name or "the savefile"
        self._resource = Resource(self.name, source.close, source.close)

    # -- the header ------------------------------------------------------------------------------

    def prepare(self) -> bool:
        """Read the header; False when its bytes are not all there yet.

        Raises:
            SavefileError: If it is not a savefile, or an unsupported one.
            TruncatedSavefileError: If it ends inside the header.
        """
        with self._resource:
            while True:
                self._scan(0)
                self._raise_failure()
                if self._parser.ready:
                    break
                if not self._fill():
                    return False
        parser = self._parser
        self.linktype: LinkType = linktype_from_file(parser.linktype)
        self.snaplen: int = parser.snaplen
        self.version: tuple[int, int] = (parser.major, parser.minor)
        self.checksum_bits: int = parser.checksum_bits
        self.byte_swapped: bool = bool(parser.swapped)
        self.timestamp_precision: int = parser.digits
        self.format: str = "pcapng" if parser.format == lib.AIOPCAP_FORMAT_PCAPNG else "pcap"
        return True

    @property
    def compression(self) -> str | None:
        """How the file is compressed: "gzip", "xz", "zstd" or "lz4"; None when it is not."""
        return self._source.compression

    # -- packets ---------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        with self._resource:
            return self._source.fileno()

    def read_batch(self, max_packets: int = BATCH_PACKETS) -> PacketBatch | None:
        """Return the next packets, at most so many; None when none is there yet.

        The filter is not for this, but for `passing`. The batch is empty when much was read and
        none of it was a packet.

        Blocks where `waiting` says so.

        Raises:
            EOFError: At the end.
            TruncatedSavefileError: If the file ends inside a record, after all complete ones.
            SavefileError: If it contradicts itself, after all packets before.
            OSError: If reading failed.
        """
        with self._resource:
            reads = 0
            while True:
                start = self._start
                status = self._scan(max_packets)
                if self._columns.native.count or reads == READS_PER_CALL:
                    return self._batch(start)
                self._raise_failure()
                if status != lib.AIOPCAP_SCAN_MORE:
                    continue
                if self._at_end:
                    raise EOFError
                if not self._fill():
                    return None
                reads += 1

    def read_batches(self) -> list[PacketBatch]:
        """Return the next batches of a file on a disk: as many as a short while gives.

        Raises as `read_batch`, when there is no batch before.
        """
        batches: list[PacketBatch] = []
        until = time.monotonic() + READ_AHEAD
        while not batches or (
            self.steady and len(batches) < READ_AHEAD_BATCHES and time.monotonic() < until
        ):
            try:
                batch = self.read_batch()
            except (EOFError, PcapError, OSError):
                # It comes again when these are taken.
                if batches:
                    break
                raise
            if batch is None:
                break
            if len(batch):
                batches.append(batch)
                if (filter := self._filter) is not None:
                    self._selected[id(batch)] = (batch, filter, filter.select(batch))
        return batches

    def compile(self, filter: str | Filter | None) -> CompiledFilter:
        """Compile for this file; may block on host names."""
        if filter is None:
            return CompiledFilter(None, None)
        plain = as_filter(filter, self.linktype, self.snaplen)
        return CompiledFilter(plain, plain._program)

    def set_filter(self, compiled: CompiledFilter) -> None:
        """Let only matching packets pass from now on."""
        self._filter = compiled.filter

    def passing(self, batch: PacketBatch) -> PacketBatch:
        """Return what of a batch passes the filter."""
        filter = self._filter
        if filter is None:
            return batch
        read, read_with, selected = self._selected.pop(id(batch), (None, None, batch))
        return selected if read is batch and read_with is filter else filter.select(batch)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces of a pcapng file, as far as it was read."""
        return tuple(self.descriptions.interfaces)

    @property
    def skipped_blocks(self) -> int:
        """How many blocks of a pcapng file were of types without meaning here."""
        return int(self._parser.skipped_blocks)

    def close(self) -> None:
        """Close the file, once no thread reads it any more. Idempotent."""
        self._resource.close()

    # -- inside ----------------------------------------------------------------------------------

    def _take_buffer(self, size: int) -> None:
        self._buffer: Any = new_uncleared("uint8_t[]", max(size, 1))
        self._bytes = ffi.buffer(self._buffer, size)
        self._view = memoryview(self._bytes)
        self._start = self._end = 0

    def _scan(self, max_packets: int) -> int:
        columns = self._columns.native
        columns.capacity = min(max_packets, BATCH_PACKETS)
        consumed, wanted = ffi.new("size_t *"), ffi.new("size_t *")
        status: int = lib.aiopcap_savefile_scan(
            self._parser,
            self._buffer + self._start,
            self._end - self._start,
            self._at_end,
            columns,
            consumed,
            wanted,
        )
        self._start += consumed[0]
        self._wanted = wanted[0]
        if self._parser.kept_size:
            self.descriptions.feed(ffi.buffer(self._parser.kept, self._parser.kept_size)[:])
        return status

    def _fill(self) -> bool:
        """Read once; False when nothing is there now."""
        kept = self._end - self._start
        if len(self._view) - self._end < LEAST_READ:
            # A record that claims to be huge gets its room as its bytes arrive, not before.
            size = max(CHUNK_BYTES, min(self._wanted, 2 * kept) + LEAST_READ)
            old = self._view[self._start : self._end]
            self._take_buffer(size)
            self._view[:kept] = old
            self._end = kept
        try:
            count = self._source.readinto(self._view[self._end :])
        except Exception as exc:
            self._failure = copy_of(exc)
            raise
        if count is None:
            return False
        self._at_end = count == 0
        self._end += count
        return True

    def _batch(self, start: int) -> PacketBatch:
        parser = self._parser
        data = RawData(self._bytes, start, self._start - start)
        linktype = linktype_from_file(parser.rows_linktype)
        if self.format == "pcap":
            return self._columns.batch(data, linktype, None)
        options = bool(parser.rows_have_options)
        return self._columns.batch(data, linktype, self.descriptions.names, options=options)

    def _raise_failure(self) -> None:
        parser = self._parser
        if self._failure is None and parser.status < 0:
            cut = parser.status == lib.AIOPCAP_SCAN_TRUNCATED
            kind: type[PcapError] = TruncatedSavefileError if cut else SavefileError
            message = text(parser.error)
            name = self._source.name
            self._failure = kind(f"{name}: {message}" if name else message)
        if self._failure is not None:
            raise copy_of(self._failure)
