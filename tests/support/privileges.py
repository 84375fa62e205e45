"""Whether this process may make network hosts, and what happens to a test when it may not.

A test that cannot run is skipped with its reason. Where ``AIOPCAP_REQUIRE_NET=1`` is set (as
continuous integration does) the same reason is a failure, so that nobody mistakes a machine
without privileges for a passing run.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .veth import veth_pair

__all__ = ["reason_without_net", "require_net"]

# Bit numbers in the CapEff mask, from linux/capability.h.
_NEEDED_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


@functools.cache
def reason_without_net() -> str | None:
    """Say why network hosts cannot be made here, or ``None`` when they can."""
    if sys.platform != "linux":
        return "network hosts are made of Linux namespaces"
    if shutil.which("ip") is None:
        return "the command ip is missing (package iproute2)"
    held = _effective_capabilities()
    missing = [name for name, bit in _NEEDED_CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        return "missing " + ", ".join(missing) + " (run as root)"
    # The capabilities may be there while a container or the kernel's configuration still
    # forbids it: only trying tells.
    try:
        with veth_pair():
            return None
    except OSError as error:
        return f"no network namespace with a veth pair: {error}"
    except subprocess.CalledProcessError as error:
        return f"no veth pair: {error.stderr.strip()}"


def require_net() -> None:
    """Skip the running test without network hosts, or fail it where they are required."""
    reason = reason_without_net()
    if reason is None:
        return
    if os.environ.get("AIOPCAP_REQUIRE_NET") == "1":
        pytest.fail(f"AIOPCAP_REQUIRE_NET=1, but {reason}", pytrace=False)
    pytest.skip(reason)
