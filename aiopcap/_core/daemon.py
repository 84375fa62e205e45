"""A thread that works off calls one by one, and tells by a descriptor when one is done.

It is a daemon: a read that never ends must not keep the interpreter from ending, as the threads of
an executor would.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Daemon(Generic[T]):
    """One function to call, again and again, in a thread of its own, which starts with the first.

    Args:
        function: What is called; nothing else may hold what it closes over, to be collected.
        name: The thread's.
    """

    def __init__(self, function: Callable[[], T], name: str) -> None:
        self._function = function
        self._name = name
        self._calls: SimpleQueue[Future[T] | None] = SimpleQueue()
        self._bell = Bell()
        self._started = False

    def call(self) -> Future[T]:
        """Have the function called once more."""
        future: Future[T] = Future()
        if not self._started:
            self._started = True
            arguments = (self._function, self._calls, self._bell)
            threading.Thread(target=_work, args=arguments, name=self._name, daemon=True).start()
        self._calls.put(future)
        return future

    def fileno(self) -> int:
        """Return the descriptor that is readable after a call was done."""
        return self._bell.fileno()

    def clear(self) -> None:
        """Make it unreadable until the next."""
        self._bell.clear()

    def close(self) -> None:
        """Let the thread end after the call that it is in."""
        self._calls.put(None)
        self._bell.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


class Bell:
    """A pipe that one thread rings and another hears.

    The lock is for a ring that comes while it is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._closed = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when it was rung."""
        return self._reader

    def ring(self) -> None:
        """Make it readable; nothing, once it is closed."""
        with self._lock:
            if not self._closed:
                # A full pipe is readable already.
                with suppress(BlockingIOError):
                    os.write(self._writer, b"!")

    def clear(self) -> None:
        """Make it unreadable until it is rung again."""
        with suppress(BlockingIOError):
            os.read(self._reader, 65536)

    def close(self) -> None:
        """Give the descriptors up. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._reader)
                os.close(self._writer)


def _work(function: Callable[[], T], calls: "SimpleQueue[Future[T] | None]", bell: Bell) -> None:
    while (future := calls.get()) is not None:
        try:
            result = function()
        except BaseException as exc:
            future.set_exception(exc)
        else:
            future.set_result(result)
            del result
        del future
        bell.ring()
