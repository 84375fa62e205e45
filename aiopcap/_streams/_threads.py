"""Opening in a worker thread what may take its time, and losing nothing when that is cancelled."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread


class Closable(Protocol):
    """What can be closed without waiting."""

    def close(self) -> None:
        """Close it."""


T = TypeVar("T", bound=Closable)


class _Opening(Generic[T]):
    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._abandoned = False
        self._opened: T | None = None

    def run(self) -> T:
        opened = self._factory()
        with self._lock:
            self._opened = opened
            abandoned = self._abandoned
        if abandoned:
            opened.close()
        return opened

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            opened = self._opened
        if opened is not None:
            opened.close()


async def run_surely(function: Callable[[], None]) -> None:
    """Call a function in a worker thread, however many of those are busy. To be shielded."""
    await to_thread.run_sync(function, limiter=CapacityLimiter(1))


async def open_in_thread(factory: Callable[[], T]) -> T:
    """Call factory in a worker thread and return what it opened.

    Cancellation takes effect at once, even while a host name is looked up; what is opened after
    that is closed where it was opened.
    """
    opening = _Opening(factory)
    try:
        return await to_thread.run_sync(opening.run, abandon_on_cancel=True)
    except BaseException:
        opening.abandon()
        raise
