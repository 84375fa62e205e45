"""Savefiles to read, made by the benchmarks themselves."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["IMIX", "SMALL", "warm", "write_savefile"]

SMALL = (60,)
IMIX = (60, 570, 60, 60, 570, 60, 1514, 60, 570, 60, 60, 570)  # 7:4:1, 351 bytes on average

_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_PER_SECOND = 100_000
_MIB = 1 << 20


def write_savefile(
    path: Path, sizes: tuple[int, ...], *, packets: int | None = None, nbytes: int | None = None
) -> int:
    """Write a savefile of Ethernet frames and give the number of packets in it.

    Args:
        path: Where to write.
        sizes: Lengths of the frames in bytes, taken in turn.
        packets: How many packets to write;
        nbytes: or how large the file shall be at least.
    """
    chunk_packets = max(1, _MIB // (sum(sizes) // len(sizes) + 16))
    chunk_packets += -chunk_packets % len(sizes)
    written = 0
    with path.open("wb") as savefile:
        savefile.write(_HEADER)
        while written < packets if packets is not None else savefile.tell() < (nbytes or 0):
            count = chunk_packets if packets is None else min(chunk_packets, packets - written)
            savefile.write(b"".join(_record(written + i, sizes) for i in range(count)))
            written += count
    return written


def _record(number: int, sizes: tuple[int, ...]) -> bytes:
    size = sizes[number % len(sizes)]
    seconds, tick = divmod(number, _PER_SECOND)
    micros = tick * (1_000_000 // _PER_SECOND)
    header = struct.pack("<IIII", 1_700_000_000 + seconds, micros, size, size)
    return header + bytes([number & 0xFF]) * size


def warm(path: Path) -> None:
    """Read a file once, so that all that follow find it in the page cache."""
    with path.open("rb") as file:
        while file.read(_MIB):
            pass
