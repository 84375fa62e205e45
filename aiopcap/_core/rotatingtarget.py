"""A savefile's bytes in several files, one after the other."""

import errno
import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiopcap._core.bytetarget import ByteTarget, DescriptorTarget, sync_where_possible
from aiopcap._core.resource import Owner
from aiopcap._core.rotation import NamePattern
from aiopcap._native import lib


class RotatingTarget:
    """Files in one folder, each with its name from when it is finished.

    The one being written is called `.NAME.part`. Nobody else makes a file of that name, so two
    programs with the same pattern do not write to one file; and no file that is there is ever
    overwritten, whoever made it.

    The folder is opened once. So another working directory, or the loss of privileges, changes
    nothing but the owner of later files.

    Args:
        pattern: A path; its last part is one for `NamePattern`.
        keep: How many finished files stay, or None for all.
        header_bytes: How many bytes a file without a packet has, uncompressed.
        compress: Makes of a file one that compresses what is written to it.

    Raises:
        OSError: If the folder or the first file cannot be opened.
        ValueError: If the pattern is none.
    """

    def __init__(
        self,
        pattern: str,
        keep: int | None,
        header_bytes: int,
        compress: Callable[[ByteTarget], ByteTarget] | None = None,
    ) -> None:
        folder, name = os.path.split(pattern)
        if not name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), pattern)
        self.name: str | None = pattern
        self._names = NamePattern(name)
        self._keep = keep
        self._header_bytes = header_bytes
        self._compress = compress
        self._finished: list[Path] = []
        self._durable = False
        self._owner = Owner(pattern)
        self._path = Path(folder).absolute()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._folder = os.open(folder or os.curdir, flags)
        try:
            self._begin(time.time())
        except BaseException:
            os.close(self._folder)
            raise

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files that were not removed by `keep`, the oldest first."""
        return tuple(self._finished)

    def next_file(self, begun: float) -> None:
        """Finish the file and begin the next one, as one of this time."""
        self._finish()
        self._begin(begun)

    # -- a target --------------------------------------------------------------------------------

    def write(self, data: memoryview) -> int:
        """Write once, to the file that was begun."""
        written = self._file.write(data)
        self._length += written
        return written

    def cut(self, surplus: int) -> None:
        """Shorten that file."""
        self._file.cut(surplus)
        self._length -= surplus

    def flush(self) -> None:
        """Let others read that file as far as it was written, under the name that it has."""
        self._file.flush()

    def finish(self) -> None:
        """Do nothing: `close` finishes the last file."""

    def sync(self) -> None:
        """Call fsync(2) for all files and names; from now on, for each file when it is finished."""
        if not self._durable:
            for path in self._finished:
                # One that somebody took away needs no care any more.
                with suppress(FileNotFoundError):
                    self._sync_finished(path.name)
            self._durable = True
        self._file.sync()
        sync_where_possible(self._folder)

    def close(self) -> None:
        """Finish the last file."""
        try:
            if self._unfinished and self._owner.is_other:
                self._file.close()  # the process that this is a fork of goes on with it
            elif self._unfinished:
                self._finish()
        finally:
            os.close(self._folder)

    # -- files -----------------------------------------------------------------------------------

    def _begin(self, begun: float) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for name in self._names.names(begun):
            if self._exists(name):
                continue
            part = f".{name}.part"
            self.name = str(self._path / name)
            try:
                fd = os.open(part, flags, 0o666, dir_fd=self._folder)
            except FileExistsError:
                continue  # another dumper's, or what is left of one that was killed
            break
        self._file: ByteTarget = DescriptorTarget(fd, self.name)
        if self._compress is not None:
            self._file = self._compress(self._file)
        self._unfinished = True
        self._begun = begun
        self._part, self._wanted = part, name
        self._length = 0

    def _finish(self) -> None:
        self._unfinished = False
        try:
            self._file.finish()
            if self._durable:
                self._file.sync()
        finally:
            self._file.close()
        only_one = not self._finished
        if self._length < self._header_bytes + (not only_one):
            os.unlink(self._part, dir_fd=self._folder)
            return
        self._finished.append(self._path / self._rename())
        if self._keep is not None and len(self._finished) > self._keep:
            with suppress(FileNotFoundError):
                os.unlink(self._finished[0].name, dir_fd=self._folder)
            del self._finished[0]

    def _rename(self) -> str:
        """Give the file its name, or the next one where somebody has taken that meanwhile."""
        part = os.fsencode(self._part)
        for name in itertools.chain([self._wanted], self._names.names(self._begun)):
            number = lib.aiopcap_rename_new(self._folder, part, os.fsencode(name))
            if number == 0:
                break
            if number != errno.EEXIST:
                raise OSError(number, os.strerror(number), name)
        return name

    def _sync_finished(self, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True
