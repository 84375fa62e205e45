"""Where packets go: lines on standard output, or a savefile."""

import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio
import click

from aiopcap import Dumper, PacketBatch, PacketStream
from aiopcap.cli._lines import LineFormat
from aiopcap.cli._output import STDOUT, TextOutput
from aiopcap.cli._running import Failure

# About what a pipe takes at once.
LINES_PER_WRITE = 32


class Sink(Protocol):
    """Takes packets and counts them.

    Attributes:
        packets: How many it took.
        failure: Why it takes no more, if so.
    """

    packets: int
    failure: OSError | None

    async def take(self, batch: PacketBatch) -> None:
        """Take a batch; cancelled, it has counted what it took."""


class Printer:
    """A line on standard output for each packet."""

    def __init__(self, line_format: LineFormat) -> None:
        self.packets = 0
        self.failure: OSError | None = None
        self._format = line_format
        self._output = TextOutput()

    async def take(self, batch: PacketBatch) -> None:
        """Print a batch."""
        for start in range(0, len(batch), LINES_PER_WRITE):
            some = batch[start : start + LINES_PER_WRITE]
            await self._output.write(self._format.text(some))
            self.packets += len(some)


class SavefileSink:
    """A savefile, written without an object for each packet.

    Args:
        dumper: Stays open.
        flush: Whether each batch goes out at once, for whoever reads the other end of a pipe.
    """

    def __init__(self, dumper: Dumper, *, flush: bool) -> None:
        self.packets = 0
        self.failure: OSError | None = None
        self._dumper = dumper
        self._flush = flush

    async def take(self, batch: PacketBatch) -> None:
        """Write a batch, whole even when cancelled: what was captured is not to be lost."""
        with anyio.CancelScope(shield=True):
            try:
                await self._dumper.send_batch(batch)
            except ValueError as error:
                raise Failure(str(error)) from error
            self.packets += len(batch)
            if self._flush:
                await self._dumper.flush()


async def pump(
    packets: PacketStream,
    sink: Sink,
    count: int | None,
    *,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Move packets until they end, or so many have been moved.

    Args:
        packets: Where they come from.
        sink: Where they go.
        count: How many; all where None.
        beside: What runs in the meantime.
    """
    async with anyio.create_task_group() as group:
        if beside is not None:
            group.start_soon(beside)
        async for batch in packets.batches():
            try:
                await sink.take(batch if count is None else batch[: count - sink.packets])
            except OSError as error:
                sink.failure = error
                raise
            if sink.packets == count:
                break
        group.cancel_scope.cancel()


def check_savefile_argument(savefile: str | None) -> None:
    """Refuse to write a savefile to a terminal.

    Raises:
        click.UsageError: If it is one.
    """
    if savefile == "-" and os.isatty(STDOUT):
        raise click.UsageError(
            "a savefile is not for a terminal: send standard output elsewhere, or name a file"
        )
