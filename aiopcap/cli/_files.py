"""The files that a command reads and writes."""

from io import FileIO
from pathlib import Path

from aiopcap.cli._running import Failure


def regular_file(name: str) -> FileIO | None:
    """Open a file whose position tells how far reading is; None for a pipe or standard input."""
    if name == "-" or not Path(name).is_file():
        return None
    return FileIO(name)


def check_another_file(file: str, target: str) -> None:
    """Refuse to write a file that is read.

    Raises:
        Failure: If they are the same.
    """
    # Opening the target empties it: of its own source nothing would be left to read.
    paths = Path(file), Path(target)
    if "-" in {file, target} or not all(path.exists() for path in paths):
        return
    if paths[0].samefile(paths[1]):
        raise Failure(f"{target}: cannot be copied to itself")


def shown(target: str) -> str:
    """Return what a target is called in messages."""
    return "standard output" if target == "-" else target
