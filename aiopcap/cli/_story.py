"""How the demo tells what it does."""

import shutil
import sys
import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiopcap import CaptureStatistics, Packet
from aiopcap.cli._lines import LineFormat
from aiopcap.cli._summary import summary

LABEL_WIDTH = 10


class Story:
    """Prints the demo's steps, its packets, and how it ended."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)

    def title(self, text: str) -> None:
        """Say what runs."""
        self._console.print(text, style="bold")
        self._console.print()

    def step(self, label: str, text: str, *, style: str = "green") -> None:
        """Say what is done; words that are too long for the line, such as paths, stay whole."""
        indent = " " * (LABEL_WIDTH + 1)
        wrapped = textwrap.fill(
            text,
            self._console.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = Text(f"{label:{LABEL_WIDTH}} ", style=style)
        line.append(wrapped[len(indent) :], style="default")
        self._console.print(line, soft_wrap=True)

    def obstacle(self, error: Exception) -> None:
        """Say why the loopback device cannot be captured from, and what would help."""
        words, _, command = str(error).rpartition(": ")
        if not command.startswith("sudo "):
            words, command = str(error), ""
        self.step("capture", f"{words}:" if command else words, style="yellow")
        if command:
            self._console.print(f"  {command}", soft_wrap=True)
        self._console.print()
        self._console.print("So here is the same on a file instead of a device.")

    def table(self, packets: list[Packet]) -> None:
        """Print packets."""
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("time", no_wrap=True)
        table.add_column("packet")
        table.add_column("bytes", justify="right")
        table.add_column("data", style="cyan")
        line_format = LineFormat(clock="local", device=False, hex=False)
        for packet in packets:
            what, _, length = summary(packet.data, packet.linktype).partition(" length ")
            data = packet.data[-int(length) :].decode() if length else ""
            when = line_format.time(packet.timestamp_ns)
            table.add_row(when, what, str(packet.wire_length), data)
        self._console.print()
        self._console.print(table)
        self._console.print()

    def end(self, path: Path, statistics: CaptureStatistics | None) -> None:
        """Say what the counters are, and where the file is."""
        self.step("statistics", _statistics(statistics), style="bold")
        self.step("file", f"{path}, {path.stat().st_size} bytes", style="bold")
        # In one piece, to be copied.
        self._console.print(
            f"{'look again':{LABEL_WIDTH}} {_program()} read {path}", soft_wrap=True
        )


def _statistics(statistics: CaptureStatistics | None) -> str:
    if statistics is None:
        return "none: a file has no counters"
    return (
        f"{statistics.received} received, {statistics.dropped} dropped by the kernel, "
        f"{statistics.if_dropped} by the device; on a loopback device the kernel sees each packet "
        "twice, leaving and arriving"
    )


def _program() -> str:
    """Return how to call this command from here."""
    script = Path(sys.executable).with_name("aiopcap")
    if shutil.which("aiopcap") == str(script):
        return "aiopcap"
    if not script.exists():
        return f"{_from_here(Path(sys.executable))} -m aiopcap"
    return _from_here(script)


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
