"""What this process holds: descriptors, memory mappings, resident memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Resources", "open_descriptors", "resources"]


class Resources(NamedTuple):
    """A moment's holdings, taken after a garbage collection."""

    descriptors: int
    mappings: int
    resident_bytes: int


def open_descriptors() -> dict[int, str]:
    """Map every open descriptor to what it refers to."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found


def resources() -> Resources:
    """Count what this process holds now."""
    gc.collect()
    with Path("/proc/self/maps").open("rb") as maps:
        mappings = sum(1 for _ in maps)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Resources(len(open_descriptors()), mappings, pages * os.sysconf("SC_PAGE_SIZE"))
