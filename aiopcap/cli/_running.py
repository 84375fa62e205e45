"""Running a command on an event loop: signals, errors, exit codes."""

import errno
import importlib.util
import math
import signal
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import IO, Any

import anyio
import click
from anyio.abc import TaskStatus

from aiopcap import PcapError, PcapWarning

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# What arrived just before a signal may still be in the kernel's buffer: the default buffer timeout
# is a millisecond. A person does not notice this long.
GRACE_SECONDS = 0.02


class Failure(click.ClickException):
    """Something went wrong: one line on stderr, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        note(self.format_message())


def note(message: str) -> None:
    """Print a line on stderr."""
    click.echo(f"aiopcap: {message}", err=True)


class Ending:
    """How the work of a command ends before it is done: by a signal, or by its time.

    Attributes:
        scope: Around the work.
        signal: The signal that came, if one did.
        grace: Seconds that the work goes on after a signal.
    """

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.signal: int | None = None
        self.grace = 0.0

    def after(self, seconds: float | None) -> None:
        """End the work so many seconds from now, or never."""
        duration = math.inf if seconds is None else seconds
        self.scope.deadline = min(self.scope.deadline, anyio.current_time() + duration)

    async def watch(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Wait for a signal, and end the work when it comes."""
        with anyio.open_signal_receiver(*SIGNALS) as received:
            task_status.started()
            async for number in received:
                self.signal = number
                break
        # Whoever asks again, while a full pipe keeps the end of a file waiting, means it.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self.after(self.grace)


@asynccontextmanager
async def ended_by_signals() -> AsyncIterator[Ending]:
    """Run the body until it is done, or SIGINT or SIGTERM comes."""
    async with anyio.create_task_group() as group:
        ending = Ending()
        await group.start(ending.watch)
        with ending.scope:
            yield ending
        group.cancel_scope.cancel()


def run(work: Callable[[], Coroutine[Any, Any, None]], backend: str) -> None:
    """Run the work of a command; expected errors become a `Failure`."""
    if importlib.util.find_spec(backend) is None:
        raise Failure(f"{backend} is not installed: pip install 'aiopcap[{backend}]'")
    _show_warnings_as_notes()
    try:
        anyio.run(work, backend=backend)
    except BaseException as error:
        raise _expected(_single(error)) from None


def _single(error: BaseException) -> BaseException:
    """Return what a task group wrapped; of several expected errors the first is enough."""
    while isinstance(error, BaseExceptionGroup) and (
        len(error.exceptions) == 1 or error.split((PcapError, OSError))[1] is None
    ):
        error = error.exceptions[0]
    return error


def _expected(error: BaseException) -> BaseException:
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return error  # the reader of a pipe has enough: click exits without a word
    if isinstance(error, PcapError | OSError):
        return Failure(message_of(error))
    return error


def message_of(error: PcapError | OSError) -> str:
    """Return an expected error in one line."""
    if isinstance(error, PcapError):
        return str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"


def _show_warnings_as_notes() -> None:
    show = warnings.showwarning

    def showwarning(
        message: Warning | str, category: type[Warning], *rest: Any, **named: Any
    ) -> None:
        if issubclass(category, PcapWarning):
            note(f"warning: {message}")
        else:
            show(message, category, *rest, **named)

    warnings.showwarning = showwarning
