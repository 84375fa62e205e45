"""Lifetime of what C owns: released once, not while a thread uses it, and not by a forked child.

A handle may be closed by the event loop while a worker thread is inside a C call on it. So a call
holds a lease for as long as it takes, and the release waits for the last lease to end, without
anyone waiting: whoever ends it, releases.

After fork() parent and child share the kernel's ring and the position in a file, and each would
take from the other, or write what the other writes too. So things know the process that made them.
"""

import os
import threading
from collections.abc import Callable
from types import TracebackType


class _Process:
    """This process; kept up to date, as getpid(2) is a system call."""

    number = os.getpid()


def _note_process() -> None:
    _Process.number = os.getpid()


os.register_at_fork(after_in_child=_note_process)


class Owner:
    """The process that something belongs to.

    Args:
        name: What it is, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = _Process.number

    @property
    def is_other(self) -> bool:
        """Whether this process is a fork of it."""
        return self._process != _Process.number

    def check(self) -> None:
        """Raise RuntimeError in a fork."""
        if self.is_other:
            raise RuntimeError(
                f"{self.name} was opened in process {self._process} and cannot be used in its "
                f"fork, process {_Process.number}: open a new one there"
            )


class ResourceClosedError(Exception):
    """The resource was released; the streams turn it into anyio's `ClosedResourceError`."""


class Resource:
    """Something to release, with leases.

    Args:
        name: What it is, for messages.
        release: Called once, in the process that made the resource, when it is closed and no
            lease is left.
        abandon: Called instead of it in a forked child.
    """

    def __init__(self, name: str, release: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._release = release
        self._abandon = abandon
        self._owner = Owner(name)
        self._lock = threading.Lock()
        self._leases = 0
        self._closed = False

    def __enter__(self) -> None:
        self._owner.check()
        with self._lock:
            if self._closed:
                raise ResourceClosedError(self._owner.name)
            self._leases += 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._leases -= 1
            last = self._closed and self._leases == 0
        if last:
            self._release()

    def close(self) -> None:
        """Release now, or when the last lease ends. Idempotent."""
        if self._owner.is_other:
            if not self._closed:
                self._closed = True
                self._abandon()
            return
        with self._lock:
            idle = not self._closed and self._leases == 0
            self._closed = True
        if idle:
            self._release()
