"""What programs made by others say about a savefile.

tcpdump gets the file's bytes through a pipe: confined installations (AppArmor, a dropped user)
may read only in some folders, whatever the caller may do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from os import PathLike
from pathlib import Path

import pytest

from .pcapfiles import Record

__all__ = [
    "mergecap",
    "require_program",
    "tcpdump",
    "tcpdump_count",
    "tcpdump_records",
    "tshark_fields",
]


def require_program(name: str) -> str:
    """Give the path of a program, or skip the running test without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _environment() -> dict[str, str]:
    # A sanitizer that was loaded into this process makes some of them hang.
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _output(argv: list[str], standard_input: bytes = b"") -> str:
    run = subprocess.run(
        argv, input=standard_input, capture_output=True, check=False, env=_environment()
    )
    if run.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {run.stderr.decode(errors='replace').strip()}")
    return run.stdout.decode()


def mergecap(target: str | PathLike[str], *sources: str | PathLike[str]) -> None:
    """Merge savefiles by their time stamps to one with nanoseconds."""
    argv = [require_program("mergecap"), "-F", "nsecpcap", "-w", target, *sources]
    subprocess.run(argv, env=_environment(), check=True)


def tcpdump(savefile: str | PathLike[str], *arguments: str) -> str:
    """Run ``tcpdump -n -r`` on a savefile and give what it prints."""
    argv = [require_program("tcpdump"), "-n", "-r", "-", *arguments]
    return _output(argv, Path(savefile).read_bytes())


def tcpdump_count(savefile: str | PathLike[str], expression: str = "") -> int:
    """Count the packets of a savefile that pass a filter."""
    filter_arguments = [expression] if expression else []
    return int(tcpdump(savefile, "--count", *filter_arguments).split()[0])


def tcpdump_records(savefile: str | PathLike[str], expression: str = "") -> list[Record]:
    """Read the times and bytes of packets out of tcpdump's hex output.

    tcpdump does not print the length on the wire in a form that all link types share: the
    records carry ``None``; `tshark_fields` with ``frame.len`` knows it.

    Raises:
        ValueError: A time is one that this tcpdump cannot print. Old releases take times after
            2038 for negative; ``frame.time_epoch`` of `tshark_fields` knows those.
    """
    filter_arguments = [expression] if expression else []
    output = tcpdump(savefile, "-tt", "--nano", "-xx", "-q", *filter_arguments)
    found: list[tuple[int, list[str]]] = []
    for line in output.splitlines():
        if line.startswith("\t0x"):
            found[-1][1].append(line.partition(":")[2])
        elif not line.startswith((" ", "\t")):
            time = re.match(r"(\d+)\.(\d{9}) ", line)
            if time is None:
                raise ValueError(f"tcpdump printed no time: {line}")
            found.append((int(time[1] + time[2]), []))
    return [Record(time_ns, bytes.fromhex("".join(rows))) for time_ns, rows in found]


def tshark_fields(savefile: str | PathLike[str], *fields: str) -> list[tuple[str, ...]]:
    """Ask tshark for fields of each packet, such as ``frame.len`` or ``frame.cap_len``."""
    # By its path: tshark knows some variants of the format only in files it can go back in.
    argv = [require_program("tshark"), "-n", "-r", str(savefile), "-T", "fields"]
    for field in fields:
        argv += ["-e", field]
    return [tuple(line.split("\t")) for line in _output(argv).splitlines()]
