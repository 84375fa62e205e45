"""Where a savefile's bytes come from: files, pipes, file objects, memory."""

import io
import os
import select
import stat
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from aiopcap._core.errors import SavefileError

Readable = str | os.PathLike[str] | int | bytes | bytearray | memoryview | Any


# Going through more takes longer than a hand-over to a thread and back.
SMALL_BYTES = 1024 * 1024


class Waiting(Enum):
    """How to wait for more bytes."""

    NEVER = "in memory: reading takes no time"
    POLL = "the descriptor reports readiness; reading never blocks"
    BLOCK = "a disk, much memory, or an object that may block: read in a thread"
    GROWTH = "a file that others write to: read in a thread, and at its end again after a while"


class ByteSource(Protocol):
    """Bytes to read once, from the front."""

    name: str | None
    waiting: Waiting
    # Reading takes a disk's time at the most: no other program decides when bytes come.
    steady: bool

    def readinto(self, buffer: memoryview) -> int | None:
        """Read into the buffer; 0 at the end, None when nothing is there now."""

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""

    def close(self) -> None:
        """Give up what is owned."""


class MemoryBytes:
    """A savefile in memory."""

    name: str | None = None
    steady = True

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._rest = memoryview(data).cast("B")
        self.waiting = Waiting.NEVER if len(self._rest) <= SMALL_BYTES else Waiting.BLOCK

    def readinto(self, buffer: memoryview) -> int | None:
        """Copy the next bytes."""
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def fileno(self) -> int:
        """Return -1."""
        return -1

    def close(self) -> None:
        """Let the memory go."""
        self._rest = memoryview(b"")


class DescriptorBytes:
    """A file, a pipe, a FIFO, a socket or a terminal.

    Args:
        fd: Owned, and closed by `close`.
        name: For error texts.
    """

    def __init__(self, fd: int, name: str | None) -> None:
        self.name = name
        self._fd = fd
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, os.strerror(21), name)
        pollable = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
        self.waiting = Waiting.POLL if pollable else Waiting.BLOCK
        self.steady = stat.S_ISREG(mode)
        # uvloop makes what it waits on non-blocking, for all who share it: it gets the epoll.
        self._epoll: Any = None
        self._poll: Any = select.poll()
        if pollable and hasattr(select, "epoll"):
            self._poll = self._epoll = select.epoll()
        self._poll.register(fd, select.POLLIN)

    def readinto(self, buffer: memoryview) -> int | None:
        """Read once."""
        # A shared descriptor such as stdin stays in the mode its other users expect: asking
        # first is what keeps this from blocking, not O_NONBLOCK.
        if self.waiting is Waiting.POLL and not self._poll.poll(0):
            return None
        try:
            return os.readv(self._fd, [buffer])
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        """Return a descriptor that is readable when this one is."""
        return self._fd if self._epoll is None else int(self._epoll.fileno())

    def close(self) -> None:
        """Close the descriptor."""
        if self._epoll is not None:
            self._epoll.close()
        os.close(self._fd)


class GrowingBytes(DescriptorBytes):
    """A file that is read while others write it: it has no end.

    Args:
        fd: Of a regular file; owned, and closed by `close`.
        name: For error texts.

    Raises:
        ValueError: If it is no regular file.
    """

    def __init__(self, fd: int, name: str | None) -> None:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError("only a regular file can be followed; a pipe is waited for without")
        super().__init__(fd, name)
        self.waiting = Waiting.GROWTH

    def readinto(self, buffer: memoryview) -> int | None:
        """Read once; None at the end that the file has now.

        Raises:
            SavefileError: If the file is shorter than what was read of it.
        """
        count = super().readinto(buffer)
        if count:
            return count
        if os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            where = f"{self.name}: " if self.name else ""
            raise SavefileError(f"{where}the file was cut shorter than what was read of it")
        return None


class FileObjectBytes:
    """A binary file object; it stays the caller's, and open."""

    waiting = Waiting.BLOCK
    steady = False

    def __init__(self, file: Any) -> None:
        self.name = name if isinstance(name := getattr(file, "name", None), str) else None
        self._file = file

    def readinto(self, buffer: memoryview) -> int | None:
        """Read once, by the object's `readinto`, else its `read`."""
        if hasattr(self._file, "readinto"):
            count = self._file.readinto(buffer)
        else:
            data = self._file.read(len(buffer))
            count = None if data is None else len(data)
            if count:
                buffer[:count] = data
        if count is None:
            raise BlockingIOError("the file object is in non-blocking mode and has nothing to read")
        return int(count)

    def fileno(self) -> int:
        """Return -1: what the object buffers, its descriptor does not know."""
        return -1

    def close(self) -> None:
        """Forget the object."""
        self._file = None


def open_bytes(source: Readable, *, follow: bool = False) -> ByteSource:
    """Open what `open_offline` takes.

    Args:
        source: What is read.
        follow: Whether to read on when more is written to the file.

    Raises:
        OSError: If a path cannot be opened; a directory is `IsADirectoryError`.
        TypeError: If it is none of the kinds.
        ValueError: If it cannot be followed.
    """
    if follow and not isinstance(source, str | os.PathLike | int):
        raise ValueError("only a file can be followed, by its path or its descriptor")
    kind = GrowingBytes if follow else DescriptorBytes
    if isinstance(source, bytes | bytearray | memoryview):
        return MemoryBytes(source)
    if isinstance(source, io.TextIOBase):
        raise TypeError("the file object is in text mode: open it with 'rb'")
    if hasattr(source, "read"):
        return FileObjectBytes(source)
    if isinstance(source, int):
        return _owned(kind, os.dup(source), None)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "a savefile is read from a path, '-', a descriptor, a binary file object or bytes, "
            f"not from {type(source).__name__}"
        )
    if source == "-":
        return _owned(kind, os.dup(0), "standard input")
    # Without O_NONBLOCK, opening a FIFO waits for its writer, where nothing could end the wait.
    fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return _owned(kind, fd, str(Path(source)))


def _owned(kind: type[DescriptorBytes], fd: int, name: str | None) -> DescriptorBytes:
    try:
        return kind(fd, name)
    except BaseException:
        os.close(fd)
        raise
