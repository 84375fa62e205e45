"""The `aiopcap` command: devices, capture, read, replay, demo.

A tool like any other, built on the public names of aiopcap alone. It needs the extra `cli`: click
for arguments, rich for tables, live counters and progress bars.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        from aiopcap.cli._commands import cli
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.exit(
            f"aiopcap: the command line needs {missing}: install it with pip install 'aiopcap[cli]'"
        )
    cli(prog_name="aiopcap")
