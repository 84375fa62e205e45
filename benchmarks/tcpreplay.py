"""tcpreplay, where it is installed: the program that others send savefiles with."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from pathlib import Path

from benchmarks.run import Report

__all__ = ["is_installed", "tcpreplay"]

_ACTUAL = re.compile(r"^Actual: (\d+) packets .* sent in ([\d.]+) seconds", re.MULTILINE)


def is_installed() -> bool:
    """Whether it can be run."""
    return shutil.which("tcpreplay") is not None


def tcpreplay(device: str, path: Path, *options: str) -> Report:
    """Send a savefile that it loads into memory before (``-K``).

    Its clock starts when the file is loaded and the device open, before the first packet, and
    stops behind the last: what it says is comparable with a clock around the sending alone. Its
    processor time includes the loading.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        ["tcpreplay", "-K", *options, "-i", device, str(path)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    actual = _ACTUAL.search(run.stdout)
    if actual is None:
        raise RuntimeError(f"tcpreplay said something else than usual: {run.stdout}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"packets": int(actual[1]), "seconds": float(actual[2]), "cpu": cpu}
