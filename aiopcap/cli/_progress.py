"""How far a replay is: a line on stderr, which disappears at the end.

It is nothing at all where stderr is no terminal.
"""

import os
from io import FileIO
from types import TracebackType
from typing import Self

import anyio
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from aiopcap import TransmitReport
from aiopcap.cli._counters import BRIEFLY_SHOWN

# The rate is that of the last second: it shall tell of a device that has become slow.
_RATE_SECONDS = 1.0


class SendProgress:
    """A bar with the packets that were sent, their rate, and how long it takes.

    Args:
        wanted: Whether it is to be shown where it can be.

    Attributes:
        report: The last that came.
        shown: Whether there is a terminal to show it on.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.report = TransmitReport()
        self._console = Console(stderr=True)
        self.shown = wanted and self._console.is_terminal
        self._total: int | None = None
        self._passes: int | None = None
        self._file: FileIO | None = None
        self._bar: Progress | None = None
        self._rate = 0.0
        self._rated_at, self._rated_packets = anyio.current_time(), 0

    def expect_packets(self, total: int | None) -> None:
        """Measure by packets, of so many; None where nobody knows."""
        self._total = total

    def expect_passes(self, passes: int) -> None:
        """Measure by packets, of so many times those of the first pass."""
        self._passes = passes

    def expect_end(self, file: FileIO) -> None:
        """Measure by how much is read of a file."""
        self._total, self._file = os.fstat(file.fileno()).st_size, file

    def show(self, report: TransmitReport) -> None:
        """Show new numbers."""
        self.report = report
        if not self.shown:
            return
        if self._bar is None:
            self._bar = self._started()
        done = report.packets + report.truncated
        if self._passes is not None and report.passes:
            self._total = (done - report.next_index) // report.passes * self._passes
        if self._file is not None:
            done = self._file.tell()
        self._bar.update(
            self._bar.task_ids[0],
            total=self._total,
            completed=done if self._total is None else min(done, self._total),
            packets=report.packets,
            share=f"{min(done / self._total, 1):4.0%}" if self._total else "",
            rate=self._current_rate(report.packets),
            refresh=True,
        )

    def _started(self) -> Progress:
        columns: list[ProgressColumn] = [
            TextColumn("{task.fields[packets]:,} packets  {task.fields[rate]:,.0f} packets/s"),
            BarColumn(bar_width=None),
        ]
        if self._total is None and self._passes is None:
            columns += [TimeElapsedColumn()]
        else:
            columns += [TextColumn("{task.fields[share]}"), TimeRemainingColumn()]
        bar = Progress(
            *columns,
            console=self._console,
            **BRIEFLY_SHOWN,
            expand=True,
        )
        bar.add_task("", total=self._total, packets=0, share="", rate=0.0)
        bar.start()
        return bar

    def _current_rate(self, packets: int) -> float:
        now = anyio.current_time()
        passed = now - self._rated_at
        if passed >= _RATE_SECONDS or not self._rate:
            self._rate = (packets - self._rated_packets) / passed if passed > 0 else 0.0
        if passed >= _RATE_SECONDS:
            self._rated_at, self._rated_packets = now, packets
        return self._rate

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
