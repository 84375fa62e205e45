"""A file that is hashed while it is read."""

import hashlib
import io
import os
import select
import threading
from io import FileIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# What is left when the packets are at their end, or damaged, is read in pieces of this size.
_PIECE_BYTES = 1024 * 1024


class HashedFile(io.RawIOBase):
    """A file, a pipe or standard input; its digest is that of all bytes that were read of it.

    To be read in worker threads. Closing it ends a read that waits for a pipe.

    Args:
        name: A path, or "-" for standard input.

    Attributes:
        name: For messages.
        nbytes: How many bytes were read.

    Raises:
        OSError: If the path cannot be opened.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = "standard input" if name == "-" else name
        self.nbytes = 0
        self._hash = hashlib.sha256()
        self._file = FileIO(0, closefd=False) if name == "-" else FileIO(name, opener=_open)
        self._reading = threading.Lock()
        self._woken, self._waker = os.pipe()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Wait for bytes, read and hash them; 0 at the end, or when it is being closed."""
        view = memoryview(buffer).cast("B")
        with self._reading:
            while not self._file.closed:
                # Asking first is what keeps this from blocking where nothing can end it.
                ready, _, _ = select.select([self._file.fileno(), self._woken], [], [])
                if self._woken in ready:
                    break
                if (count := self._file.readinto(view)) is not None:
                    self._hash.update(view[:count])
                    self.nbytes += count
                    return count
        return 0

    def read_rest(self) -> str:
        """Read to the end and return the digest in hex digits."""
        buffer = bytearray(_PIECE_BYTES)
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close it, once the thread that reads has noticed. Idempotent."""
        if not self.closed:
            os.close(self._waker)
            with self._reading:
                self._file.close()
                os.close(self._woken)
        super().close()


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for its writer.
    return os.open(path, flags | os.O_NONBLOCK)
