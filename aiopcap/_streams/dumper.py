"""Writing packets to a savefile, asynchronously."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, final

import anyio
import anyio.lowlevel
from anyio import to_thread
from anyio.abc import ObjectSendStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import Writable
from aiopcap._core.interfaces import Interface, InterfaceStatistics
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._core.recordbuffer import BUFFER_BYTES
from aiopcap._core.rotation import Rotation
from aiopcap._core.savefileformat import SavefileFormat
from aiopcap._core.savefileopening import choose_format, open_writer
from aiopcap._core.writer import SavefileWriter
from aiopcap._streams._threads import open_in_thread, run_surely

# A send that only fills the buffer gives other tasks their turn this often.
PACKETS_PER_CHECKPOINT = 64

WhenFull = Literal["wait", "drop"]


class WriterOptions(TypedDict, total=False):
    """How a savefile is written, whatever its format; see `dump_open`."""

    compression: str | None
    append: bool
    rotate: Rotation | None
    buffer_bytes: int


class DumpOptions(WriterOptions, total=False):
    """These, and what becomes of packets that find no room."""

    when_full: WhenFull


@final
class Dumper(ObjectSendStream[Packet]):
    """A savefile that packets are sent to; open one with `dump_open`.

    Packets gather in a buffer; when it is full, and on `flush` and `aclose`, a thread writes it,
    while a second one is filled. When both are full, `send` waits for the disk, or drops and
    counts, as `dump_open` was told. The loop never waits, and memory has a bound.

    A write error is raised by whichever call meets it, at the latest by `flush` or `aclose`, and
    again by each later `send` and `flush`; a regular file then ends with the last record that was
    written whole. A process that is killed leaves a file that can be read up to the last record
    that was written whole; what `flush` had returned for is in it.

    Several tasks may send: a record is never mixed with another. A send that is cancelled has
    taken its packet or batch whole, or not at all.
    """

    def __init__(self, writer: SavefileWriter, name: str, when_full: WhenFull) -> None:
        self._writer = writer
        self._name = name
        self._drops = when_full == "drop"
        self._dropped = 0
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False
        self._since_checkpoint = 0

    @property
    def format(self) -> str:
        """The file's format, "pcap" or "pcapng"."""
        return self._writer.format.name

    @property
    def linktype(self) -> LinkType | None:
        """What every packet begins with; in pcapng, what those do that do not say."""
        return self._writer.format.linktype

    @property
    def snaplen(self) -> int:
        """The most bytes of a packet."""
        return self._writer.format.snaplen

    @property
    def precision(self) -> str:
        """The resolution of the time stamps in the file, "nano" or "micro"."""
        return self._writer.format.precision

    @property
    def dropped(self) -> int:
        """How many packets found no room in the buffers; 0 where `send` waits for it."""
        return self._dropped

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files of a rotation that are still kept, the oldest first.

        The one being written is not among them; after `aclose` all are.
        """
        return self._writer.files

    async def send(self, item: Packet) -> None:
        """Write a packet; mostly no more than a copy to the buffer, now and then a checkpoint.

        Raises:
            ValueError: If it contradicts itself or the file: more bytes than on the wire or than
                the snaplen, another link type, a time before 1970 or after 2106-02-07.
            SavefileWriteError: If the file could not be written.
            anyio.ClosedResourceError: If the dumper is closed.
        """
        self._since_checkpoint += 1
        if self._since_checkpoint >= PACKETS_PER_CHECKPOINT:
            self._since_checkpoint = 0
            await anyio.lowlevel.checkpoint()
        if self._drops:
            self._check_open()
            self._append_or_drop(item)
            return
        async with self._lock:
            self._check_open()
            while not self._writer.append(item):
                await self._hand_over()

    async def send_batch(self, batch: PacketBatch) -> None:
        """Write all packets of a batch, without a Python object for each; a checkpoint.

        Raises as `send`; when one packet cannot be written, none of the batch is. A batch that is
        larger than a buffer is waited for with as much memory as it needs; where packets are
        dropped, its first ones are kept as far as there is room.
        """
        await anyio.lowlevel.checkpoint()
        if self._drops:
            self._check_open()
            self._append_some_and_drop(batch)
            return
        async with self._lock:
            self._check_open()
            checked = self._writer.check_batch(batch)
            while not self._writer.append_batch(checked):
                await self._hand_over()

    async def send_statistics(
        self,
        interface: str | None,
        statistics: InterfaceStatistics,
        *,
        linktype: LinkType | int | None = None,
    ) -> None:
        """Write what an interface has counted, to a pcapng file; a checkpoint.

        Args:
            interface: Its name, as its packets have it; None where they have none.
            statistics: The counters.
            linktype: What its packets begin with, where the dumper was not told.

        Raises:
            ValueError: If the file is not pcapng, or a number does not fit in 64 bits.
            SavefileWriteError: If the file could not be written.
            anyio.ClosedResourceError: If the dumper is closed.
        """
        await anyio.lowlevel.checkpoint()
        kind = None if linktype is None else LinkType(linktype)
        async with self._lock:
            self._check_open()
            while not self._writer.append_statistics(kind, interface, statistics):
                await self._hand_over()

    async def flush(self, *, sync: bool = False) -> None:
        """Write what is in the buffer, for others to read; a checkpoint.

        A compressed file can be read up to there too, for which it grows a little.

        Args:
            sync: Return only when the bytes are on the disk (fsync(2)): of the file, of its name
                where that is new, and of all finished files of a rotation. A cancellation ends the
                wait, and the disk goes on.

        Raises:
            SavefileWriteError: If the file could not be written.
            anyio.ClosedResourceError: If the dumper is closed.
        """
        await anyio.lowlevel.checkpoint()
        async with self._lock:
            self._check_open()
            await self._settle()
            self._writer.flush(sync=sync)
            await self._settle()

    def tell(self) -> int:
        """Return the length of the file in bytes, uncompressed, with what is still in the buffer.

        In a rotation, of the file that the last packet went to.
        """
        return self._writer.tell()

    def end_file(self) -> None:
        """Have the next packet begin the next file of a rotation, whatever its limits say.

        A file without a packet goes on.

        Raises:
            ValueError: If it is no rotation.
            anyio.ClosedResourceError: If the dumper is closed.
        """
        self._check_open()
        self._writer.end_file()

    async def aclose(self) -> None:
        """Write what is in the buffer and close the file. Idempotent.

        It finishes even when cancelled, so that the file is complete.

        Raises:
            SavefileWriteError: If the file could not be written, unless a call raised that before.
        """
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if not self._closed:
                    self._closed = True
                    try:
                        await run_surely(self._writer.finish)
                    finally:
                        # A shield of anyio's does not hold off asyncio's own Task.cancel().
                        self._writer.finish()
        await anyio.lowlevel.checkpoint()

    def _append_or_drop(self, packet: Packet) -> None:
        while not self._writer.append(packet):
            if self._writer.busy:
                self._dropped += 1
                return
            self._writer.hand_over()

    def _append_some_and_drop(self, batch: PacketBatch) -> None:
        checked = self._writer.check_batch(batch)
        taken = self._writer.append_some(checked, 0)
        while taken < len(batch) and not self._writer.busy:
            self._writer.hand_over()
            taken = self._writer.append_some(checked, taken)
        self._dropped += len(batch) - taken

    async def _hand_over(self) -> None:
        await self._settle()
        self._writer.hand_over()

    async def _settle(self) -> None:
        # More than once only where packets are dropped: their senders do not wait for the lock.
        while self._writer.busy:
            await to_thread.run_sync(self._writer.wait, abandon_on_cancel=True)
        self._writer.check()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        message = f"Unclosed {self!r}"
        self._closed = True
        try:
            self._writer.finish()
        finally:
            warnings.warn(message, ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        return f"<{'closed ' if self._closed else ''}Dumper {self._name!r}>"


async def dump_open(
    target: Writable,
    *,
    linktype: LinkType | int | None = None,
    snaplen: int = 262144,
    precision: str = "nano",
    format: str | None = None,
    interfaces: Iterable[Interface] = (),
    comments: Iterable[str] = (),
    compression: str | None = "auto",
    append: bool = False,
    rotate: Rotation | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    when_full: WhenFull = "wait",
) -> Dumper:
    """Open a savefile for writing.

    A pcap file has packets of one link type. A pcapng file has what packets know of themselves:
    link type, interface, comments and other options.

    A compressed file is complete after `Dumper.aclose`, and readable as far as it was flushed
    before. After a write error it ends anywhere, and what can be decompressed of it may end inside
    a record.

    Args:
        target: A path (created, or emptied), "-" for standard output, a file descriptor or a
            binary file object; the last two stay the caller's, and open.
        linktype: What every packet begins with; in pcapng, only those that do not say, and it may
            be left out.
        snaplen: The most bytes of a packet, as the file's header says.
        precision: "nano" for nanosecond time stamps, "micro" for readers that know only those.
        format: "pcap" or "pcapng"; by default as the path says, pcapng where it ends with .pcapng.
        interfaces: What a pcapng file says of interfaces beside their names and link types, by
            which they are known; such as those of an `OfflineCapture`. Only those of whom packets
            come are in the file.
        comments: On the whole of a pcapng file.
        compression: "gzip", "xz", "zstd", "lz4", or None for none; "auto" goes by the end of a
            path: .gz, .xz, .zst, .lz4. zstd (before Python 3.14) and lz4 need the extra
            `aiopcap[compression]`.
        append: Go on with the file, if there is one with something in it. Its link type, snaplen,
            precision and byte order must be those of this dumper. A record that is cut off at its
            end, as a killed process or a power cut leaves it, is removed before anything is
            written; every record's header is looked at to find it.
        rotate: Write to several files, one after the other, as this says. The last part of the
            path is a pattern for their names: codes of strftime(3) stand for the local time when
            a file is begun, and `{n}` or `{n:05}` for a counter from 1; without either, the counter
            is put before the suffix, and `trace.pcap` becomes `trace-00001.pcap`. A name that
            exists is skipped. While a file is written it is called ``.NAME.part``; it gets its
            name, in one step, when it is finished. A packet is in one file, whole.
        buffer_bytes: The most memory for packets on their way to the disk, in two halves. A packet
            or batch that is larger than a half takes as much as it needs.
        when_full: What `send` does when that is full: "wait" for the disk, or "drop" the packet
            and count it in `Dumper.dropped`, without waiting.

    Raises:
        OSError: If the path cannot be opened for writing.
        SavefileError: If the file to append to is not a pcap file of the same format.
        ValueError: If an argument is out of range, or what is to be appended to or rotated has no
            path.
        MissingExtraError: If the compression needs the extra.
    """
    chosen = choose_format(
        format,
        target,
        linktype=None if linktype is None else LinkType(linktype),
        snaplen=snaplen,
        precision=precision,
        interfaces=tuple(interfaces),
        comments=tuple(comments),
    )
    return await open_dumper(
        target,
        chosen,
        compression=compression,
        append=append,
        rotate=rotate,
        buffer_bytes=buffer_bytes,
        when_full=when_full,
    )


async def open_dumper(
    target: Writable,
    format: SavefileFormat,
    *,
    when_full: WhenFull = "wait",
    **options: Unpack[WriterOptions],
) -> Dumper:
    """Open a savefile for writing, in a format that was checked before the file is emptied."""
    if when_full not in {"wait", "drop"}:
        raise ValueError(f"when_full is 'wait' or 'drop', not {when_full!r}")

    def opened() -> SavefileWriter:
        return open_writer(target, format, clock=anyio.current_time, **options)

    name: Any = target if isinstance(target, str) else getattr(target, "name", target)
    return Dumper(await open_in_thread(opened), str(name), when_full)
