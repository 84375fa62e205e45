"""Writing packets to a savefile, asynchronously."""

import warnings
from typing import Any, final

import anyio
import anyio.lowlevel
from anyio import to_thread
from anyio.abc import ObjectSendStream

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import Writable, open_target
from aiopcap._core.compression import compressed, compressor_for
from aiopcap._core.linktype import LinkType
from aiopcap._core.packet import Packet
from aiopcap._core.writer import SavefileFormat, SavefileWriter
from aiopcap._streams._threads import open_in_thread, run_surely

# A send that only fills the buffer gives other tasks their turn this often.
PACKETS_PER_CHECKPOINT = 64


@final
class Dumper(ObjectSendStream[Packet]):
    """A savefile that packets are sent to; open one with `dump_open`.

    Packets gather in a buffer of 1 MiB; when it is full, and on `flush` and `aclose`, a thread
    writes it, while a second one is filled. When both are full, `send` waits for the disk.

    A write error is raised by whichever call meets it, at the latest by `flush` or `aclose`, and
    again by each later `send` and `flush`; a regular file then ends with the last record that was
    written whole.

    Several tasks may send: a record is never mixed with another. A send that is cancelled has
    taken its packet or batch whole, or not at all.
    """

    def __init__(self, writer: SavefileWriter, name: str) -> None:
        self._writer = writer
        self._name = name
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False
        self._since_checkpoint = 0

    @property
    def linktype(self) -> LinkType:
        """What every packet begins with."""
        return self._writer.format.linktype

    @property
    def snaplen(self) -> int:
        """The most bytes of a packet."""
        return self._writer.format.snaplen

    @property
    def precision(self) -> str:
        """The resolution of the time stamps in the file, "nano" or "micro"."""
        return self._writer.format.precision

    async def send(self, item: Packet) -> None:
        """Write a packet.

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
        async with self._lock:
            self._check_open()
            while not self._writer.append(item):
                await self._hand_over()

    async def send_batch(self, batch: PacketBatch) -> None:
        """Write all packets of a batch, without a Python object for each; a checkpoint.

        Raises as `send`; when one packet cannot be written, none of the batch is.
        """
        await anyio.lowlevel.checkpoint()
        async with self._lock:
            self._check_open()
            checked = self._writer.check_batch(batch)
            while not self._writer.append_batch(checked):
                await self._hand_over()

    async def flush(self, *, sync: bool = False) -> None:
        """Write what is in the buffer, for others to read; a checkpoint.

        A compressed file can be read up to there too, for which it grows a little.

        Args:
            sync: Return only when the bytes are on the disk (fsync(2)).

        Raises:
            SavefileWriteError: If the file could not be written.
            anyio.ClosedResourceError: If the dumper is closed.
        """
        await anyio.lowlevel.checkpoint()
        async with self._lock:
            self._check_open()
            await self._settle()
            self._writer.flush()
            await self._settle()
            if sync:
                await to_thread.run_sync(self._writer.sync)

    def tell(self) -> int:
        """Return the length of the file in bytes, with what is still in the buffer.

        It is what the file has uncompressed.
        """
        return self._writer.tell()

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

    async def _hand_over(self) -> None:
        await self._settle()
        self._writer.hand_over()

    async def _settle(self) -> None:
        if self._writer.busy:
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
    linktype: LinkType | int,
    snaplen: int = 262144,
    precision: str = "nano",
    compression: str | None = "auto",
) -> Dumper:
    """Open a savefile for writing, in pcap format.

    A compressed file is complete after `Dumper.aclose`, and readable as far as it was flushed
    before. After a write error it ends anywhere, and what can be decompressed of it may end inside
    a record.

    Args:
        target: A path (created, or emptied), "-" for standard output, a file descriptor or a
            binary file object; the last two stay the caller's, and open.
        linktype: What every packet begins with.
        snaplen: The most bytes of a packet, as the file's header says.
        precision: "nano" for nanosecond time stamps, "micro" for readers that know only those.
        compression: "gzip", "xz", "zstd", "lz4", or None for none; "auto" goes by the end of a
            path: .gz, .xz, .zst, .lz4. zstd (before Python 3.14) and lz4 need the extra
            `aiopcap[compression]`.

    Raises:
        OSError: If the path cannot be opened for writing.
        ValueError: If an argument is out of range.
        MissingExtraError: If the compression needs the extra.
    """
    format = SavefileFormat(LinkType(linktype), snaplen, precision)
    return await open_dumper(target, format, compression)


async def open_dumper(
    target: Writable, format: SavefileFormat, compression: str | None = "auto"
) -> Dumper:
    """Open a savefile for writing, in a format that was checked before the file is emptied."""

    def opened() -> SavefileWriter:
        compressor = compressor_for(target, compression)
        return SavefileWriter(compressed(open_target(target), compressor), format)

    name: Any = target if isinstance(target, str) else getattr(target, "name", target)
    return Dumper(await open_in_thread(opened), str(name))
