"""Savefiles to read, made by the benchmarks themselves."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from tests.support.frames import frame, numbered

__all__ = ["ETHERNET", "IMIX", "SMALL", "warm", "write_savefile", "write_schedule"]

SMALL = (60,)
IMIX = (60, 570, 60, 60, 570, 60, 1514, 60, 570, 60, 60, 570)  # 7:4:1, 351 bytes on average
ETHERNET = frame(size=0)  # the header of a frame that no host answers

_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
# A Section Header Block, and an Interface Description Block with no options.
_PCAPNG_HEADER = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
_PCAPNG_HEADER += struct.pack("<IIHHII", 1, 20, 1, 0, 262144, 20)
_EPOCH = 1_700_000_000  # seconds; where all times count from
_PER_SECOND = 100_000
_MIB = 1 << 20


def write_savefile(
    path: Path,
    sizes: tuple[int, ...],
    *,
    packets: int | None = None,
    nbytes: int | None = None,
    header: bytes = b"",
    pcapng: bool = False,
) -> int:
    """Write a savefile of Ethernet frames and give the number of packets in it.

    Args:
        path: Where to write.
        sizes: Lengths of the frames in bytes, taken in turn.
        packets: How many packets to write;
        nbytes: or how large the file shall be at least.
        header: What all packets begin with; where they are only read, nothing in particular.
        pcapng: Whether it has pcapng's format, of one interface, and not pcap's.
    """
    record = _block if pcapng else _record
    chunk_packets = max(1, _MIB // (sum(sizes) // len(sizes) + 16))
    chunk_packets += -chunk_packets % len(sizes)
    written = 0
    with path.open("wb") as savefile:
        savefile.write(_PCAPNG_HEADER if pcapng else _HEADER)
        while written < packets if packets is not None else savefile.tell() < (nbytes or 0):
            count = chunk_packets if packets is None else min(chunk_packets, packets - written)
            frames = (_counted(written + i, sizes, header) for i in range(count))
            savefile.write(b"".join(record(*frame) for frame in frames))
            written += count
    return written


def write_schedule(path: Path, packets: int, mean_gap_us: int) -> list[int]:
    """Write numbered frames with exponentially distributed gaps, the same each time.

    Returns:
        Their times in microseconds; whole ones, which every program keeps.
    """
    chance = random.Random(packets)
    times = []
    due = 0.0
    with path.open("wb") as savefile:
        savefile.write(_HEADER)
        for data in numbered(packets):
            times.append(round(due))
            savefile.write(_record(times[-1], data))
            due += chance.expovariate(1 / mean_gap_us)
    return times


def _counted(number: int, sizes: tuple[int, ...], header: bytes) -> tuple[int, bytes]:
    size = sizes[number % len(sizes)]
    filling = bytes([number & 0xFF]) * (size - len(header))
    return number * (1_000_000 // _PER_SECOND), header + filling


def _record(micros: int, data: bytes) -> bytes:
    seconds, micros = divmod(micros, 1_000_000)
    return struct.pack("<IIII", _EPOCH + seconds, micros, len(data), len(data)) + data


def _block(micros: int, data: bytes) -> bytes:
    """An Enhanced Packet Block of the first interface."""
    high, low = divmod(_EPOCH * 1_000_000 + micros, 2**32)
    total = 32 + len(data) + -len(data) % 4
    head = struct.pack("<IIIIIII", 6, total, 0, high, low, len(data), len(data))
    return head + data + bytes(-len(data) % 4) + struct.pack("<I", total)


def warm(path: Path) -> None:
    """Read a file once, so that all that follow find it in the page cache."""
    with path.open("rb") as file:
        while file.read(_MIB):
            pass
