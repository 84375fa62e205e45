"""Running the command as a user does: a process with pipes or a terminal around it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from .support.privileges import reason_without_net

__all__ = [
    "BACKENDS",
    "PATIENCE",
    "Terminal",
    "aiopcap",
    "begun",
    "is_drained",
    "started",
    "until",
    "without_privilege",
]

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ["asyncio", "trio"]

# Seconds after which a test says that what it waits for does not come.
PATIENCE = 20.0

# Warnings are errors in the command as well: one about something left open would be printed.
_COMMAND = [sys.executable, "-W", "error", "-m", "aiopcap"]


def _environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "TZ"}
    }
    return kept | {"TERM": "xterm", "TZ": "UTC"} | (changes or {})


def aiopcap(
    *arguments: str | Path,
    stdin: bytes = b"",
    prefix: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with pipes around it."""
    run = subprocess.run(
        [*(prefix or []), *_COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=_environment(env),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(
        run.args, run.returncode, run.stdout.decode(), run.stderr.decode()
    )


@contextmanager
def started(
    *arguments: str | Path, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command beside the test; it is gone when the block ends."""
    process = subprocess.Popen(
        [*_COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        process.wait()


def begun(process: subprocess.Popen[bytes]) -> str:
    """Wait until a capture says that it has begun, and return what it says."""
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert "capturing on" in line, line + process.stderr.read().decode()
    return line


def until(condition: Callable[[], bool]) -> None:
    """Look again and again until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not come"
        os.sched_yield()


def is_drained(fifo: Path) -> bool:
    """Say whether all that was written to a FIFO has been read."""
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return not any(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    finally:
        os.close(fd)


def without_privilege() -> list[str]:
    """What to put before a command so that it may not capture; skips where that cannot be."""
    if reason_without_net() is not None:
        return []  # nothing to take away
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    return [setpriv, "--bounding-set=-net_raw,-net_admin"]


class Terminal:
    """A terminal to run the command in.

    Attributes:
        end: The descriptor that the command gets.
        shown: What it printed so far, without colours and cursor movements.
    """

    def __init__(self, columns: int = 80) -> None:
        self._own, self.end = pty.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, size)
        self._raw = b""

    @property
    def shown(self) -> str:
        text = self._raw.decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")

    def read_until(self, text: str) -> None:
        """Wait for a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            ready, _, _ = select.select([self._own], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} does not come after {self.shown!r}"
            self._raw += os.read(self._own, 65536)

    def read_rest(self) -> None:
        """Take what is there; call it when the command has ended."""
        while select.select([self._own], [], [], 0)[0]:
            self._raw += os.read(self._own, 65536)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._own)
        os.close(self.end)
