"""What every benchmark runs with: its settings, and starting the programs that are measured."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Report", "Settings", "child_command", "compile_c", "peer", "report_of"]

Report = Mapping[str, float]

_SOURCES = Path(__file__).parent / "c"


@dataclass(frozen=True)
class Settings:
    """How much to measure, and where files go that are deleted afterwards."""

    folder: Path
    quick: bool

    def rounds(self, full: int) -> int:
        """How often to repeat what is repeated ``full`` times in a full run."""
        return 3 if self.quick else full


def compile_c(name: str, folder: Path, *libraries: str) -> str:
    """Compile one of the C programs and give its path."""
    target = folder / name
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-O2", "-o", str(target), str(_SOURCES / f"{name}.c")]
    subprocess.run([*compiler, *flags, *(f"-l{library}" for library in libraries)], check=True)
    return str(target)


def child_command(program: str, *arguments: object) -> list[str]:
    """The command line of a program in `benchmarks.programs`."""
    module = f"benchmarks.programs.{program}"
    return [sys.executable, "-m", module, *map(str, arguments)]


def peer(name: str) -> Any:
    """Import a package from ``requirements.txt``, which only the benchmarks install."""
    return importlib.import_module(name)


def report_of(argv: list[str]) -> Report:
    """Run a program to its end and give the JSON of its last line."""
    run = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    report: Report = json.loads(run.stdout.splitlines()[-1])
    return report
