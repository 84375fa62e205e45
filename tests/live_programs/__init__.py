"""Programs that tests run in a process of their own, as some things happen to whole processes.

Each module is run as ``python -m tests.live_programs.NAME ACT BACKEND …``, checks by itself what
it is about, and is silent and ends with 0 when all is well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

__all__ = ["Act", "in_child", "main", "options"]

Act = Callable[..., Awaitable[Any]]


def options(backend: str) -> dict[str, Any]:
    """The arguments of `anyio.run` for a backend, uvloop counted as one."""
    if backend == "uvloop":
        return {"backend": "asyncio", "backend_options": {"use_uvloop": True}}
    return {"backend": backend}


def main(*acts: Act) -> None:
    """Run the act that the command line names, on the backend that it names."""
    name, backend, *arguments = sys.argv[1:]
    by_name = {act.__name__: act for act in acts}
    anyio.run(by_name[name], *arguments, **options(backend))


def in_child(function: Callable[[], None]) -> None:
    """Call a function in a fork, which has to end well."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0
