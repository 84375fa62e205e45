"""When a savefile that rotates is over, and how the next one is called."""

import itertools
import math
import operator
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

# In front of these the suffix of a name goes on: `.pcap.gz`.
_COMPRESSED = frozenset({".bz2", ".gz", ".lz4", ".xz", ".zst"})

_COUNTER = re.compile(r"\{n(?::0?(\d{1,2}))?\}")
_TIME_CODE = re.compile(r"%[^%]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How much goes into one file before the next one begins; at least one limit.

    Attributes:
        max_bytes: The most bytes of a file, its header included. A packet that alone needs more
            has a file of its own.
        max_packets: The most packets in a file.
        max_seconds: How long after its first packet was sent a file takes others; the first that
            is sent after that time begins the next one.
        keep: How many finished files stay: one more, and the oldest is removed. None is all.

    Raises:
        ValueError: If there is no limit, or something is not positive.
    """

    max_bytes: int | None = None
    max_packets: int | None = None
    max_seconds: float | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_packets", "keep"):
            if (number := getattr(self, name)) is not None and operator.index(number) < 1:
                raise ValueError(f"{name} is at least 1, not {number}")
        # Written so that it is also true of what is no number.
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds is positive, not {self.max_seconds}")
        if self.max_bytes is self.max_packets is self.max_seconds is None:
            raise ValueError("a rotation needs max_bytes, max_packets or max_seconds")


class FileMeter:
    """What went into the file that packets go to, and whether it is over.

    Args:
        rotation: The limits.
        clock: Gives seconds, for `max_seconds`.
    """

    def __init__(self, rotation: Rotation, clock: Callable[[], float]) -> None:
        self._most_bytes = rotation.max_bytes or sys.maxsize
        self._most_packets = rotation.max_packets or sys.maxsize
        self._most_seconds = rotation.max_seconds
        self._clock = clock
        self._ends: float | None = None
        self._packets = 0

    def is_over(self, file_bytes: int, record_bytes: int) -> bool:
        """Whether another record has to go to the next file."""
        return self._packets > 0 and (
            self._packets >= self._most_packets
            or file_bytes + record_bytes > self._most_bytes
            or (self._ends is not None and self._clock() >= self._ends)
        )

    def begin(self) -> None:
        """Count from 0, for the next file."""
        self._packets = 0
        self._ends = None

    def end_file(self) -> None:
        """Have the file be over, if there is a packet in it."""
        if self._packets:
            self._ends = -math.inf

    def room(self, file_bytes: int, record_bytes: int) -> tuple[int, int]:
        """Return how many packets, and bytes, the file takes: the next record at least."""
        return self._most_packets - self._packets, max(self._most_bytes - file_bytes, record_bytes)

    def add(self, packets: int) -> None:
        """Count what was added."""
        if self._packets == 0 and self._most_seconds is not None:
            self._ends = self._clock() + self._most_seconds
        self._packets += packets


class NamePattern:
    """Names of files, by the time when each was begun, by a counter, or both.

    Args:
        pattern: strftime codes, and `{n}` or `{n:05}` for the counter; without either, the counter
            is put before the suffix.

    Raises:
        ValueError: If it has braces around something else.
    """

    def __init__(self, pattern: str) -> None:
        if set(_COUNTER.sub("", pattern)) & set("{}"):
            raise ValueError(f"the one field of a file name is {{n}} or {{n:05}}: {pattern!r}")
        self._counts = _COUNTER.search(pattern) is not None
        if not self._counts and not _TIME_CODE.search(pattern.replace("%%", "")):
            stem, suffix = split_suffix(pattern)
            pattern = f"{stem}-{{n:05}}{suffix}"
            self._counts = True
        self._pattern = pattern
        self._number = 0

    def names(self, begun: float) -> Iterator[str]:
        """Return the names that a file of that time may have, the best first, without an end.

        Raises:
            ValueError: If a code stands for something with a slash.
        """
        name = time.strftime(self._pattern, time.localtime(begun))
        if os.sep in name:
            raise ValueError(f"a code in the file name {self._pattern!r} makes a slash: {name!r}")
        while self._counts:
            self._number += 1
            yield _COUNTER.sub(self._written, name)
        yield name
        stem, suffix = split_suffix(name)
        # An underscore, as a hyphen would sort before the first one's full stop.
        yield from (f"{stem}_{number:05}{suffix}" for number in itertools.count(2))

    def _written(self, field: re.Match[str]) -> str:
        return f"{self._number:0{field[1] or 1}}"


def split_suffix(name: str) -> tuple[str, str]:
    """Split a name before its suffix, which may be one of two parts."""
    path = PurePath(name)
    suffix = path.suffix
    if suffix in _COMPRESSED:
        suffix = path.with_suffix("").suffix + suffix
    return name.removesuffix(suffix), suffix
