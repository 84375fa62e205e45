"""The system's own gzip, xz, zstd and lz4, which make and read compressed files."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

from .witnesses import require_program

__all__ = ["FORMATS", "SUFFIXES", "Unpacked", "pack", "unpack"]

SUFFIXES = {"gzip": ".gz", "xz": ".xz", "zstd": ".zst", "lz4": ".lz4"}

FORMATS = [*SUFFIXES]


class Unpacked(NamedTuple):
    """What a program found in a file, and whether the file was whole."""

    content: bytes
    whole: bool


def pack(program: str, content: bytes, *options: str) -> bytes:
    """Compress, or skip the running test where the program is not installed."""
    argv = [require_program(program), "-c", *options]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout


def unpack(program: str, compressed: bytes) -> Unpacked:
    """Decompress as much as the program gets out of it."""
    argv = [require_program(program), "-dc"]
    run = subprocess.run(argv, input=compressed, capture_output=True, check=False)
    return Unpacked(run.stdout, run.returncode == 0)
