"""Numbers that change while a file is written: live counters, and the progress of a copy.

Both go to stderr, disappear at the end, and are nothing at all where that is no terminal.
"""

import os
from collections.abc import Sequence
from io import FileIO
from types import TracebackType
from typing import Any, Self

import anyio
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aiopcap import CaptureStatistics
from aiopcap.cli._output import human_bytes
from aiopcap.cli._sinks import Sink

REFRESH_SECONDS = 0.25

# For rich's displays: drawn when there is something new, gone at the end, and out of the way of
# what is printed.
BRIEFLY_SHOWN: dict[str, Any] = {
    "auto_refresh": False,
    "transient": True,
    "redirect_stdout": False,
    "redirect_stderr": False,
}


class LiveCounters:
    """A line with the counters of a capture.

    Args:
        shown: Whether it is wanted.
    """

    def __init__(self, *, shown: bool) -> None:
        console = Console(stderr=True)
        self._live: Live | None = None
        if shown and console.is_terminal:
            self._live = Live(
                console=console,
                **BRIEFLY_SHOWN,
            )
        self._start = self._last_time = anyio.current_time()
        self._last_packets = 0
        self._rate = 0.0

    def update(self, packets: int, file_bytes: int, statistics: CaptureStatistics) -> None:
        """Show new numbers."""
        if self._live is None:
            return
        now = anyio.current_time()
        if now - self._last_time >= 1:
            self._rate = (packets - self._last_packets) / (now - self._last_time)
            self._last_time, self._last_packets = now, packets
        minutes, seconds = divmod(int(now - self._start), 60)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{minutes:02d}:{seconds:02d}", "dim")
        for value, name in (
            (f"{packets:,}", f"written ({human_bytes(file_bytes)})"),
            (f"{statistics.received:,}", "received"),
            (f"{statistics.dropped:,}", "dropped"),
            (f"{self._rate:,.0f}", "packets/s"),
        ):
            bad = name == "dropped" and statistics.dropped
            text.append(f"  {value}", "bold red" if bad else "bold").append(f" {name}")
        self._live.update(text, refresh=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


class CopyProgress:
    """A bar that shows how much of some files has been read.

    Args:
        files: The files that are read, where they have a position; None for another.
        sink: Counts the packets.
    """

    def __init__(self, files: Sequence[FileIO | None], sink: Sink) -> None:
        self._files = [file for file in files if file is not None]
        self._sink = sink
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.fields[packets]:,} packets  {task.fields[rate]:,.0f} packets/s"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=console,
            **BRIEFLY_SHOWN,
            expand=True,
        )
        self._shown = len(self._files) == len(files) and console.is_terminal

    async def follow(self) -> None:
        """Show how far it is, until cancelled."""
        if not self._shown:
            return
        total = sum(os.fstat(file.fileno()).st_size for file in self._files)
        task = self._bar.add_task("", total=total, packets=0, rate=0.0)
        start = anyio.current_time()
        while True:
            packets, passed = self._sink.packets, anyio.current_time() - start
            self._bar.update(
                task,
                completed=sum(file.tell() for file in self._files),
                packets=packets,
                rate=packets / passed if passed else 0.0,
                refresh=True,
            )
            await anyio.sleep(REFRESH_SECONDS)

    def __enter__(self) -> Self:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._bar.stop()
