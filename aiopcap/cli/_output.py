"""Standard output for a stream of text, and numbers for people."""

import os
import select
import stat

import anyio
import anyio.lowlevel

STDOUT = 1


class TextOutput:
    """Text to a descriptor, without holding up the event loop.

    A terminal that was paused or a reader that is busy may take nothing for minutes, and a signal
    has to end the command all the same. So this waits until the descriptor takes some, and then
    writes as little as surely fits.

    Args:
        fd: Stays open, and in the mode that its other users expect.
    """

    def __init__(self, fd: int = STDOUT) -> None:
        self._fd = fd
        mode = os.fstat(fd).st_mode
        self._waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)

    async def write(self, text: str) -> None:
        """Write all of it."""
        rest = memoryview(text.encode(errors="surrogateescape"))
        piece = select.PIPE_BUF if self._waits else len(rest)
        while rest:
            if self._waits:
                await anyio.wait_writable(self._fd)
            else:
                await anyio.lowlevel.checkpoint()
            try:
                rest = rest[os.write(self._fd, rest[:piece]) :]
            except BlockingIOError:
                continue


def human_bytes(size: float) -> str:
    """Return a number of bytes in words: "1.5 MiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def plural(count: int, word: str = "packet") -> str:
    """Return a count and its word: "1 packet", "12 packets"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
