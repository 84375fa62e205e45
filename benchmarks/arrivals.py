"""When numbered frames came out of a cable, by the kernel's clock on the far side."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.run import Report
from benchmarks.wire import Wire
from tests.support.frames import number_of

__all__ = ["arrival_times"]

_BUFFER_KIB = 16384  # all of a run: tcpdump shall not wake up much while somebody keeps time
_SNAPLEN = 64
_PATIENCE = 10.0  # seconds from the end of sending until tcpdump has seen everything
_FILE_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_NANOSECONDS = 0xA1B23C4D


def arrival_times(
    link: Wire, count: int, path: Path, send: Callable[[], Report]
) -> tuple[Report, list[int]]:
    """Have somebody send ``count`` numbered frames.

    Args:
        link: What they are sent into.
        count: How many.
        path: Where tcpdump writes; deleted afterwards.
        send: Sends them.

    Returns:
        What `send` returned, and when each frame came, in nanoseconds of the wall clock.
    """
    tcpdump = shutil.which("tcpdump") or "/usr/sbin/tcpdump"
    # Started by root it becomes another user, who may not write into the folder.
    keep_user = ["-Z", "root"] if os.geteuid() == 0 else []
    options = ["--nano", "-n", "-B", str(_BUFFER_KIB), "-s", str(_SNAPLEN), "-c", str(count)]
    argv = [tcpdump, *keep_user, *options, "-i", link.pair.far, "-w", str(path)]
    command = link.pair.far_namespace.command(*argv)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as witness:
        try:
            assert witness.stderr is not None
            ready = witness.stderr.readline()
            if "listening on" not in ready:
                raise RuntimeError(f"{argv}: {ready}{witness.stderr.read()}")
            report = send()
            witness.wait(_PATIENCE)
        finally:
            witness.terminate()
    try:
        return report, _read(path.read_bytes(), count)
    finally:
        path.unlink()


def _read(savefile: bytes, count: int) -> list[int]:
    if _FILE_HEADER.unpack_from(savefile)[0] != _NANOSECONDS:
        raise RuntimeError("tcpdump did not write nanoseconds")
    times: list[int] = []
    at = _FILE_HEADER.size
    while at < len(savefile):
        seconds, nanos, captured, _ = _RECORD.unpack_from(savefile, at)
        at += _RECORD.size
        if number_of(savefile[at : at + captured]) != len(times):
            raise RuntimeError(f"another frame came where number {len(times)} was expected")
        times.append(seconds * 1_000_000_000 + nanos)
        at += captured
    if len(times) != count:
        raise RuntimeError(f"{len(times)} frames came of {count}")
    return times
