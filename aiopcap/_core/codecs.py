"""The compressed formats that savefiles come in: gzip, xz, zstd and lz4.

gzip and xz are the standard library's. So is zstd since Python 3.14, and before a package with the
same interface; lz4 always is a package.
"""

import importlib
import zlib
from contextlib import suppress
from typing import Any, Protocol

from aiopcap._core.errors import MissingExtraError

# How far back a file may repeat itself, which is the memory that decompressing it takes: as much as
# the zstd tool allows. xz needs a little more beside it.
WINDOW_BYTES = 128 * 1024 * 1024
XZ_MEMORY_BYTES = WINDOW_BYTES + 16 * 1024 * 1024

MAGIC_BYTES = 4


class Decompressor(Protocol):
    """Decompresses one member of a file: a gzip member, an xz stream, a zstd or lz4 frame."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes | None:
        """What of the input was behind its end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take all of the input, and return at most so much content; the rest comes next time."""


class Compressor(Protocol):
    """Compresses one file."""

    def compress(self, data: memoryview) -> bytes:
        """Take some content; returns what is ready."""

    def flush(self) -> bytes:
        """Return what makes all content so far readable."""

    def finish(self) -> bytes:
        """Return the rest of the file."""


class Codec(Protocol):
    """A compressed format."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def damage(self) -> type[Exception]:
        """What a decompressor raises when the data contradicts the format."""

    def decompressor(self) -> Decompressor:
        """Return one for the next member."""

    def compressor(self) -> Compressor:
        """Return one for a new file."""


class Gzip:
    """gzip, of zlib."""

    name, suffix, magic = "gzip", ".gz", b"\x1f\x8b\x08"
    damage: type[Exception] = zlib.error

    def decompressor(self) -> Decompressor:
        """Return one for a member."""
        return _GzipDecompressor()

    def compressor(self) -> Compressor:
        """Return one that makes a single member."""
        return _GzipCompressor()


class _GzipDecompressor:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


class _GzipCompressor:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=31)

    def compress(self, data: memoryview) -> bytes:
        return self._stream.compress(data)

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class Xz:
    """xz, of liblzma, which a Python may have been built without."""

    name, suffix, magic = "xz", ".xz", b"\xfd7zX"

    def __init__(self) -> None:
        import lzma

        self._lzma = lzma
        self.damage: type[Exception] = lzma.LZMAError

    def decompressor(self) -> Decompressor:
        """Return one for a stream."""
        return self._lzma.LZMADecompressor(self._lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def compressor(self) -> Compressor:
        """Return one that makes a stream of what is between two flushes."""
        return _XzCompressor(self._lzma.LZMACompressor)


class _XzCompressor:
    def __init__(self, new_stream: Any) -> None:
        self._new_stream = new_stream
        self._stream: Any = None

    def compress(self, data: memoryview) -> bytes:
        if self._stream is None:
            self._stream = self._new_stream()
        return bytes(self._stream.compress(data))

    def flush(self) -> bytes:
        # liblzma could flush a stream and go on with it, but not as Python has it.
        stream, self._stream = self._stream, None
        return b"" if stream is None else bytes(stream.flush())

    def finish(self) -> bytes:
        return self.flush()


class Zstd:
    """zstd, of Python 3.14 or the package that brings it to earlier ones."""

    name, suffix, magic = "zstd", ".zst", b"\x28\xb5\x2f\xfd"

    def __init__(self) -> None:
        self._zstd = _extra(self.name, "compression.zstd", "backports.zstd")
        self.damage: type[Exception] = self._zstd.ZstdError

    def decompressor(self) -> Decompressor:
        """Return one for a frame."""
        window = self._zstd.DecompressionParameter.window_log_max
        made: Decompressor = self._zstd.ZstdDecompressor(
            options={window: WINDOW_BYTES.bit_length() - 1}
        )
        return made

    def compressor(self) -> Compressor:
        """Return one that makes a single frame, with a checksum."""
        return _ZstdCompressor(self._zstd)


class _ZstdCompressor:
    def __init__(self, zstd: Any) -> None:
        checksum = zstd.CompressionParameter.checksum_flag
        self._frame = zstd.ZstdCompressor(options={checksum: 1})

    def compress(self, data: memoryview) -> bytes:
        return bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        return bytes(self._frame.flush(self._frame.FLUSH_BLOCK))

    def finish(self) -> bytes:
        return bytes(self._frame.flush(self._frame.FLUSH_FRAME))


class Lz4:
    """lz4, in its frame format."""

    name, suffix, magic = "lz4", ".lz4", b"\x04\x22\x4d\x18"
    damage: type[Exception] = RuntimeError

    def __init__(self) -> None:
        self._lz4 = _extra(self.name, "lz4.frame")

    def decompressor(self) -> Decompressor:
        """Return one for a frame."""
        made: Decompressor = self._lz4.LZ4FrameDecompressor()
        return made

    def compressor(self) -> Compressor:
        """Return one that makes a single frame, with a checksum."""
        return _Lz4Compressor(self._lz4)


class _Lz4Compressor:
    def __init__(self, lz4: Any) -> None:
        self._lz4 = lz4
        self._context = lz4.create_compression_context()
        self._head: bytes = lz4.compress_begin(self._context, content_checksum=True)

    def compress(self, data: memoryview) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._lz4.compress_chunk(self._context, data))

    def flush(self) -> bytes:
        return bytes(self._lz4.compress_flush(self._context, end_frame=False))

    def finish(self) -> bytes:
        return bytes(self._lz4.compress_flush(self._context))


_CODECS = (Gzip, Xz, Zstd, Lz4)


def codec_of_bytes(head: bytes) -> Codec | None:
    """Return the format of a file that begins so; None when it is none of these."""
    for codec in _CODECS:
        if head.startswith(codec.magic):
            return codec()
    # What pzstd writes begins with a frame to skip. So may lz4's, but nothing makes such.
    return Zstd() if _is_skippable(head) else None


def codec_of_name(name: str) -> Codec | None:
    """Return the format of files that are called so; None when it is none of these."""
    for codec in _CODECS:
        if name.lower().endswith(codec.suffix):
            return codec()
    return None


def codec_called(name: str) -> Codec:
    """Return the format of this name.

    Raises:
        ValueError: If there is none.
    """
    for codec in _CODECS:
        if codec.name == name:
            return codec()
    names = ", ".join(repr(codec.name) for codec in _CODECS)
    raise ValueError(f"compression is 'auto', {names} or None, not {name!r}")


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


def _extra(format: str, *modules: str) -> Any:
    """Return the first of the modules that is there."""
    for module in modules:
        with suppress(ModuleNotFoundError):
            return importlib.import_module(module)
    raise MissingExtraError(
        f"{format} needs a package that is not installed: pip install 'aiopcap[compression]'"
    )
