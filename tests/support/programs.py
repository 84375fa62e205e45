"""Programs of a test that need a process of their own: forks, exits, standard input and output."""

from __future__ import annotations

import subprocess
import sys
import textwrap

__all__ = ["run_python"]


def run_python(
    program: str,
    *arguments: str,
    standard_input: bytes = b"",
    before: tuple[str, ...] = (),
    timeout: float = 60,
) -> bytes:
    """Run a Python program with all warnings as errors, and give what it prints.

    It must end without an error and say nothing on standard error.

    Args:
        program: Its text; may be indented.
        *arguments: For ``sys.argv``.
        standard_input: What it reads.
        before: A command that runs it, such as ``("unshare", "--net")``.
        timeout: In seconds.
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments]
    done = subprocess.run(
        [*before, *command], input=standard_input, capture_output=True, timeout=timeout, check=False
    )
    assert done.stderr == b"", done.stderr.decode(errors="replace")
    assert done.returncode == 0
    return done.stdout
