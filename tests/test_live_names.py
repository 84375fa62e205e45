"""Host names in the filters of live captures, looked up while everything else goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .support.witnesses import require_program
from .support_live import run_program

_PREFIX = ("unshare", "--mount", "--net")


@pytest.mark.net
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount namespaces")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "act",
    [
        "change_while_others_go_on",
        "open_while_others_go_on",
        "close_meanwhile",
        "cancel_meanwhile",
        "cancel_the_open",
        "change_meanwhile",
    ],
)
def test_a_name_that_is_looked_up_holds_up_nothing(act: str, backend: str) -> None:
    require_program("unshare")
    tried = subprocess.run(
        [*_PREFIX, "mount", "--bind", "/dev/null", "/etc/resolv.conf"],
        check=False,
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        pytest.skip(f"no name server can be set up here: {tried.stderr.strip()}")
    run_program("names", act, backend, prefix=_PREFIX)
