"""Savefiles that are compressed while they are written."""

import os
from collections.abc import Callable
from functools import partial

from aiopcap._core.bytetarget import ByteTarget, Writable
from aiopcap._core.codecs import Codec, Compressor, codec_called, codec_of_name


class CompressedTarget:
    """Compresses what is written, for another target.

    Args:
        target: Owned.
        compressor: For this target alone.
    """

    def __init__(self, target: ByteTarget, compressor: Compressor) -> None:
        self.name = target.name
        self._target = target
        self._compressor = compressor

    def write(self, data: memoryview) -> int:
        """Compress all of it, and write what is ready."""
        self._write(self._compressor.compress(data))
        return len(data)

    def cut(self, surplus: int) -> None:
        """Do nothing: what is compressed cannot be taken back, so the file ends where it ends."""

    def flush(self) -> None:
        """Write what makes everything so far readable."""
        self._write(self._compressor.flush())
        self._target.flush()

    def finish(self) -> None:
        """Complete the compressed file."""
        self._write(self._compressor.finish())
        self._target.finish()

    def sync(self) -> None:
        """Return when what was written is on the disk."""
        self._target.sync()

    def close(self) -> None:
        """Close the target; what was not flushed is lost."""
        self._target.close()

    def _write(self, compressed: bytes) -> None:
        rest = memoryview(compressed)
        while rest:
            rest = rest[self._target.write(rest) :]


def compression_for(
    target: Writable, compression: str | None
) -> Callable[[ByteTarget], ByteTarget] | None:
    """Return what makes of a target one that compresses; None for none.

    Args:
        target: What `dump_open` takes.
        compression: A format's name, "auto" for what the suffix of a path says, or None.

    Raises:
        ValueError: If no format has that name.
        MissingExtraError: If a package for it is not installed.
    """
    codec: Codec | None = None
    if compression not in (None, "auto"):
        codec = codec_called(compression)
    elif compression is not None and isinstance(target, str | os.PathLike):
        codec = codec_of_name(os.fsdecode(target))
    if codec is None:
        return None
    # What is missing is said before a file is opened.
    codec.compressor()
    return partial(_compressed, codec)


def _compressed(codec: Codec, target: ByteTarget) -> ByteTarget:
    return CompressedTarget(target, codec.compressor())
