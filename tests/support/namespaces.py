"""A network namespace without a name, and running code inside it.

The namespace is held by a file descriptor and nothing else. It is not entered in
``/run/netns``, so it disappears with this process however the process ends, and takes its
devices along. (The other half of a veth pair goes with the half that lived in there.)

A namespace belongs to a thread, not to a process: code runs inside by running in a short-lived
thread that has moved there. Sockets stay in the namespace they were opened in, so after opening
one that way it can be used from anywhere.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

__all__ = ["Namespace"]

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWNET = 0x40000000

# os.unshare and os.setns exist from Python 3.12 on.
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _in_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function).result()


class Namespace:
    """A fresh network namespace, alive until `close`."""

    def __init__(self) -> None:
        def unshare() -> int:
            _call("unshare", _CLONE_NEWNET)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self._fd = _in_thread(unshare)

    @property
    def path(self) -> str:
        """A path that names the namespace to other programs while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread inside the namespace and return what it returns.

        Processes started by the function are inside too.
        """

        def inside() -> T:
            _call("setns", self._fd, _CLONE_NEWNET)
            return function(*args, **kwargs)

        return _in_thread(inside)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs a program inside the namespace."""
        return ["nsenter", f"--net={self.path}", *argv]

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it when nothing else uses it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
