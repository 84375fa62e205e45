"""What the tests of `aiopcap replay` share: savefiles to send, and its last line read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from .support.pcapfiles import Record, pcap_bytes

__all__ = ["MODES", "PRELOAD", "Summary", "save", "summary", "total"]

# Both ways to send a file, both backends.
MODES = pytest.mark.parametrize(
    ("preload", "backend"),
    [([], "asyncio"), ([], "trio"), (["--preload"], "trio")],
    ids=["streamed-asyncio", "streamed-trio", "preloaded-trio"],
)
PRELOAD = pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["streamed", "preloaded"])

_SUMMARY = re.compile(
    r"aiopcap: (\d+) packets? sent, (\d+) bytes? in (\d+\.\d{3}) s, (\d+) packets/s, "
    r"(\d+\.\d\d) Mbit/s, (\d+) truncated left out, (\d+) failed\n?"
)


class Summary(NamedTuple):
    """The last line."""

    packets: int
    nbytes: int
    elapsed: float
    packets_per_second: float
    megabits_per_second: float
    truncated: int
    failed: int


def summary(line: str) -> Summary:
    """Read the line that says what was sent."""
    found = _SUMMARY.fullmatch(line)
    assert found is not None, line
    packets, nbytes, elapsed, pps, mbps, truncated, failed = map(float, found.groups())
    return Summary(int(packets), int(nbytes), elapsed, pps, mbps, int(truncated), int(failed))


def total(frames: list[bytes]) -> tuple[int, int]:
    """Packets and bytes, as the summary begins."""
    return len(frames), sum(map(len, frames))


def save(folder: Path, packets: list[Record], *, linktype: int = 1) -> Path:
    """Write a savefile."""
    path = folder / "file.pcap"
    path.write_bytes(pcap_bytes(packets, precision="nano", linktype=linktype))
    return path
