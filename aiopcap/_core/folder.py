"""The savefiles in a folder."""

import os
import threading
from contextlib import closing, suppress
from operator import attrgetter

from aiopcap._core.bytesource import ByteSource, open_bytes
from aiopcap._core.constants import DeviceFlags, SourceType
from aiopcap._core.devices import Device
from aiopcap._core.errors import PcapError
from aiopcap._core.savefile import SavefileSource
from aiopcap._core.sourcestring import SourceString

# A header has some dozens of bytes. But a pcapng file may have any number of blocks before the one
# that completes it, and what is compressed may be a great deal of nothing.
MOST_READS = 256
BYTES_PER_READ = 4096


class _Beginning:
    """The first bytes of a source; after them it has nothing more, and does not end."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.reads_left = MOST_READS
        self.name = source.name
        self.waiting = source.waiting
        self.steady = source.steady
        self.fileno = source.fileno
        self.close = source.close

    def readinto(self, buffer: memoryview) -> int | None:
        """Read a little."""
        if not self.reads_left:
            return None
        self.reads_left -= 1
        return self._source.readinto(buffer[:BYTES_PER_READ])


def _is_savefile(entry: os.DirEntry[str]) -> bool:
    with suppress(PcapError, OSError):
        # Opening anything else may have effects, and reading it may never end.
        if entry.is_file():
            beginning = _Beginning(open_bytes(entry.path))
            with closing(SavefileSource(beginning)) as source:
                while beginning.reads_left:
                    if source.prepare():
                        return True
    return False


def _device(path: str) -> Device:
    name = str(SourceString(SourceType.FILE, name=path))
    return Device(name, f"File '{path}' on local host", (), DeviceFlags(0))


def savefiles_in(folder: str, abandoned: threading.Event) -> list[Device]:
    """List the savefiles in a folder, not below it, by name; blocks.

    Args:
        folder: Its path.
        abandoned: Set when nobody waits for the answer any more.

    Raises:
        OSError: If the folder cannot be read.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=attrgetter("name"))
    return [
        _device(entry.path) for entry in entries if not abandoned.is_set() and _is_savefile(entry)
    ]
