"""Compressed savefiles, decompressed while they are read."""

from collections.abc import Iterator

from aiopcap._core.bytesource import ByteSource, Waiting
from aiopcap._core.codecs import MAGIC_BYTES, Codec, Decompressor, codec_of_bytes
from aiopcap._core.errors import SavefileError, TruncatedSavefileError

# One read(2) of a compressed file.
READ_BYTES = 128 * 1024

# One read(2) of a pipe, and the most content that comes of it at once: pipes are decompressed in
# the event loop. A hundred bytes may be ten frames, each of which costs 0.1 ms to begin.
PIPE_READ_BYTES = 4 * 1024
PIPE_CONTENT_BYTES = 64 * 1024

# The most content that one step of decompressing makes. A step that meets damage loses what it made
# before it, so they are small.
PIECE_BYTES = 16 * 1024

# Of the last bytes of a read each is a step of its own: where the file ends with them, they are its
# checksums, and a wrong one costs no content.
TAIL_BYTES = 64


class DecompressedBytes:
    """The bytes of a source, decompressed when they are compressed.

    Args:
        source: Owned.

    Attributes:
        compression: The name of the format, when so much was read that it shows; None when the
            bytes are not compressed.
    """

    def __init__(self, source: ByteSource) -> None:
        self.name = source.name
        self.waiting = source.waiting
        self.steady = source.steady
        self.compression: str | None = None
        self._source = source
        self._piped = source.waiting is Waiting.POLL
        # What was read while it did not show yet what the bytes are; None when it has.
        self._head: bytes | None = b""
        self._members: _Members | None = None
        self._inflow = memoryview(b"")
        if source.waiting is Waiting.NEVER:
            head = bytearray(MAGIC_BYTES)
            self._head = bytes(head[: source.readinto(memoryview(head))])
            if codec_of_bytes(self._head) is not None:
                # Little memory may hold much.
                self.waiting = Waiting.BLOCK

    def readinto(self, buffer: memoryview) -> int | None:
        """Read once, decompress, and copy what comes of it.

        None means that nothing is there now, or that what was read has no content: wait, then
        call again.

        Raises:
            TruncatedSavefileError: If compressed data ends too early, after all that is there.
            SavefileError: If it is damaged, after what is before.
            MissingExtraError: If a package for the format is not installed.
        """
        if self._head is not None:
            return self._begin(buffer, self._head)
        if self._members is None:
            return self._source.readinto(buffer)
        if count := self._content(buffer):
            return count
        read = self._source.readinto(self._inflow)
        if read is None:
            return None
        if read == 0:
            self._members.end()
            return 0
        self._members.feed(bytes(self._inflow[:read]))
        return self._content(buffer) or None

    def fileno(self) -> int:
        """Return the source's descriptor."""
        return self._source.fileno()

    def close(self) -> None:
        """Close the source."""
        self._members = None
        self._source.close()

    def _begin(self, buffer: memoryview, head: bytes) -> int | None:
        """Find out what the bytes are, for which all that is read is kept until then."""
        count = len(head)
        buffer[:count] = head
        while count < MAGIC_BYTES:
            more = self._source.readinto(buffer[count : PIPE_READ_BYTES if self._piped else None])
            if more is None:
                self._head = bytes(buffer[:count])
                return None
            if more == 0:
                break
            count += more
        self._head = None
        read = bytes(buffer[:count])
        codec = codec_of_bytes(read)
        if codec is None:
            return count
        self._inflow = memoryview(bytearray(PIPE_READ_BYTES if self._piped else READ_BYTES))
        self.compression = codec.name
        self._members = _Members(codec, self.name)
        self._members.feed(read)
        return self._content(buffer) or None

    def _content(self, buffer: memoryview) -> int:
        assert self._members is not None
        return self._members.readinto(buffer[: PIPE_CONTENT_BYTES if self._piped else None])


class _Members:
    """The members of a compressed file, one behind another, and what they contain.

    Args:
        codec: Their format.
        name: The file's, for error texts.
    """

    def __init__(self, codec: Codec, name: str | None) -> None:
        self._codec = codec
        self._where = f"{name}: " if name else ""
        self._decompressor: Decompressor | None = None  # there is none between members
        self._pieces: Iterator[bytes] = iter(())  # of what was fed
        self._piece = b""
        self._failure: Exception | None = None

    def feed(self, data: bytes) -> None:
        """Take more of the file, when all content of what came before was read."""
        self._pieces = self._decompressed(data)

    def readinto(self, buffer: memoryview) -> int:
        """Copy content; 0 when there is no more in what was fed.

        Raises:
            SavefileError: If the data is damaged, after what is before.
        """
        if self._failure is not None:
            raise self._failure
        filled = 0
        while filled < len(buffer):
            try:
                piece = self._piece or next(self._pieces, b"")
            except SavefileError as exc:
                if not filled:
                    raise
                self._failure = exc
                break
            if not piece:
                break
            count = min(len(buffer) - filled, len(piece))
            buffer[filled : filled + count] = piece[:count]
            self._piece = piece[count:]
            filled += count
        return filled

    def end(self) -> None:
        """Check that the file may end here.

        Raises:
            TruncatedSavefileError: If it may not.
        """
        if self._decompressor is not None:
            raise TruncatedSavefileError(f"{self._where}truncated {self._codec.name} data")

    def _decompressed(self, data: bytes) -> Iterator[bytes]:
        for step in _steps(data):
            rest = step
            while rest:
                if self._decompressor is None:
                    # Disks and tapes are filled up with zeros.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    self._decompressor = self._codec.decompressor()
                decompressor = self._decompressor
                try:
                    yield from _pieces(decompressor, rest)
                except self._codec.damage as exc:
                    kind = self._codec.name
                    raise SavefileError(f"{self._where}damaged {kind} data: {exc}") from exc
                rest = b""
                if decompressor.eof:
                    rest, self._decompressor = decompressor.unused_data or b"", None


def _steps(data: bytes) -> Iterator[bytes]:
    tail = max(len(data) - TAIL_BYTES, 0)
    for start in range(0, tail, PIECE_BYTES):
        yield data[start : min(start + PIECE_BYTES, tail)]
    for at in range(tail, len(data)):
        yield data[at : at + 1]


def _pieces(decompressor: Decompressor, data: bytes) -> Iterator[bytes]:
    piece = decompressor.decompress(data, PIECE_BYTES)
    while piece:
        yield piece
        # There may be more in what it took.
        full = len(piece) == PIECE_BYTES and not decompressor.eof
        piece = decompressor.decompress(b"", PIECE_BYTES) if full else b""
