"""Where a savefile's bytes go: files, pipes, file objects."""

import errno
import io
import os
import select
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

Writable = str | os.PathLike[str] | int | Any

# What fsync(2) says of a pipe, a device, or a folder on some file systems.
_NO_DISK = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)


class ByteTarget(Protocol):
    """Where a savefile's bytes go."""

    name: str | None

    def write(self, data: memoryview) -> int:
        """Write some of it; returns how much."""

    def cut(self, surplus: int) -> None:
        """Take the last bytes back where that is possible, so that the file ends on a record."""

    def flush(self) -> None:
        """Let others see what was written so far."""

    def finish(self) -> None:
        """Write what the end of the file needs; nothing is written after that."""

    def sync(self) -> None:
        """Return when the bytes are on the disk."""

    def close(self) -> None:
        """Give up what is owned, and write nothing more."""


class DescriptorTarget:
    """A file, a pipe or a terminal, by its descriptor.

    Args:
        fd: Owned.
        name: For messages.
        folder: The descriptor of the folder that a new file's name is in; owned.
    """

    def __init__(self, fd: int, name: str | None, folder: int | None = None) -> None:
        self.name = name
        self._fd = fd
        self._folder = folder
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def write(self, data: memoryview) -> int:
        """Write once; waits where the descriptor is a full pipe."""
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                _wait_writable(self._fd)

    def cut(self, surplus: int) -> None:
        """Shorten a regular file."""
        if self._regular and surplus:
            end = os.lseek(self._fd, -surplus, os.SEEK_CUR)
            os.ftruncate(self._fd, end)

    def flush(self) -> None:
        """Do nothing: the system has the bytes."""

    def finish(self) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Call fsync(2), where it means something; once for a new file's name as well."""
        if self._regular:
            os.fsync(self._fd)
        if self._folder is not None:
            sync_where_possible(self._folder)
            self._close_folder()

    def close(self) -> None:
        """Close the descriptor."""
        self._close_folder()
        os.close(self._fd)

    def _close_folder(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            os.close(folder)


class FileObjectTarget:
    """A binary file object; it stays the caller's, and open."""

    def __init__(self, file: Any) -> None:
        self.name = name if isinstance(name := getattr(file, "name", None), str) else None
        self._file = file

    def write(self, data: memoryview) -> int:
        """Write once."""
        while (count := self._file.write(data)) is None:
            if not isinstance(self._file, io.RawIOBase):
                return len(data)  # a simple object, which takes all and says nothing
            _wait_writable(self._file.fileno())
        if count == 0:
            raise OSError(errno.EIO, "the file object takes no more bytes")
        return int(count)

    def cut(self, surplus: int) -> None:
        """Do nothing: what a file object did with the bytes is not known."""

    def flush(self) -> None:
        """Flush it."""
        if hasattr(self._file, "flush"):
            self._file.flush()

    def finish(self) -> None:
        """Flush it."""
        self.flush()

    def sync(self) -> None:
        """Flush it, and its descriptor's file where it has one."""
        self.flush()
        if hasattr(self._file, "fileno"):
            try:
                fd = self._file.fileno()
            except OSError:
                return  # an object without a descriptor behind it
            sync_where_possible(fd)

    def close(self) -> None:
        """Flush it."""
        self.flush()


def sync_where_possible(fd: int) -> None:
    """Call fsync(2), unless there is no disk behind the descriptor."""
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NO_DISK:
            raise


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def open_target(target: Writable) -> ByteTarget:
    """Open what `dump_open` takes; a path is created, or emptied.

    Raises:
        OSError: If a path cannot be opened for writing.
        TypeError: If it is none of the kinds.
    """
    if isinstance(target, io.TextIOBase):
        raise TypeError("the file object is in text mode: open it with 'wb'")
    if hasattr(target, "write"):
        return FileObjectTarget(target)
    if isinstance(target, int):
        return DescriptorTarget(os.dup(target), None)
    if not isinstance(target, str | os.PathLike):
        raise TypeError(
            "a savefile is written to a path, '-', a descriptor or a binary file object, "
            f"not to {type(target).__name__}"
        )
    if target == "-":
        return DescriptorTarget(os.dup(1), "standard output")
    return open_path(target, os.O_WRONLY | os.O_TRUNC)


def open_path(path: str | os.PathLike[str], flags: int) -> DescriptorTarget:
    """Open a file, which is created where there is none.

    Raises:
        OSError: If that fails.
    """
    flags |= os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_EXCL, 0o666)
    except FileExistsError:
        return DescriptorTarget(os.open(path, flags, 0o666), os.fspath(path))
    folder = None
    # A folder that may be written but not read cannot be opened, and so not be synced.
    with suppress(PermissionError):
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return DescriptorTarget(fd, os.fspath(path), folder)
