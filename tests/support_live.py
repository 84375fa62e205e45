"""What only the tests of live captures need: arrivals, floods, programs of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aiopcap

from .support.frames import number_of, numbered
from .support.veth import Veth

__all__ = [
    "ASYNCIO_ALONE",
    "BACKENDS",
    "PATIENCE",
    "PYTHON",
    "arrived",
    "call",
    "collect",
    "end",
    "flood",
    "link",
    "numbers",
    "run_program",
    "take",
    "until",
]

ROOT = Path(__file__).resolve().parent.parent
_FLOOD = Path(__file__).resolve().parent / "live_programs" / "flood.py"

# Not "-X dev", which includes asyncio's debug mode: that prints whatever takes longer than usual.
PYTHON = (sys.executable, "-X", "faulthandler")

# Seconds after which a test says that what it waits for does not come.
PATIENCE = 10.0

BACKENDS = [
    "asyncio",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed"),
    ),
    "trio",
]

# For tests of what asyncio alone does, as values of the parameter `anyio_backend`.
ASYNCIO_ALONE = [
    pytest.param(("asyncio", {"debug": False, "use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"debug": False, "use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed"),
    ),
]

_SOL_PACKET = 263
_PACKET_QDISC_BYPASS = 20


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until a condition holds."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def arrived(capture: aiopcap.LiveCapture, count: int) -> None:
    """Wait until the kernel has taken so many packets for a capture since it was opened.

    With ``immediate=True`` all of them can be read after that, by one call.
    """
    await until(lambda: capture.statistics().received >= count)


async def take(capture: aiopcap.LiveCapture, count: int) -> list[aiopcap.Packet]:
    """Receive so many packets, with a new loop over the capture."""
    packets: list[aiopcap.Packet] = []
    if count == 0:
        return packets
    with anyio.fail_after(PATIENCE):
        async for packet in capture:
            packets.append(packet)
            if len(packets) == count:
                break
    return packets


async def collect(capture: aiopcap.LiveCapture, last: int) -> list[int]:
    """Receive until the packet with the number `last`, which is not counted."""
    seen: list[int] = []
    with anyio.fail_after(PATIENCE):
        async for packet in capture:
            if number_of(packet.data) == last:
                return seen
            seen.append(number_of(packet.data))
    raise AssertionError


def end(size: int) -> bytes:
    """A frame with the number 999, for the end of what is sent."""
    return numbered(1, size, start=999)[0]


async def call(use: Callable[[aiopcap.LiveCapture], Any], capture: aiopcap.LiveCapture) -> Any:
    """Use a capture by a method of either colour."""
    result = use(capture)
    return await result if isinstance(result, Awaitable) else result


def numbers(packets: list[aiopcap.Packet]) -> list[int]:
    """The numbers that `numbered` frames carry."""
    return [number_of(packet.data) for packet in packets]


def link(device: str) -> dict[str, Any]:
    """What ``ip`` says about a device."""
    run = subprocess.run(
        ["ip", "-d", "-j", "link", "show", device], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(run.stdout)[0]
    return found


@contextmanager
def flood(veth: Veth, frames: list[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Send frames from the far end round and round, in a process of its own, as fast as it can."""
    with veth.packet_socket("far") as sender:
        sender.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        process = subprocess.Popen(
            [sys.executable, "-I", str(_FLOOD), str(sender.fileno()), *(f.hex() for f in frames)],
            pass_fds=[sender.fileno()],
            stdout=subprocess.PIPE,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"sending\n"
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def run_program(
    name: str,
    *arguments: str,
    prefix: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    flags: tuple[str, ...] = ("-W", "always"),
    timeout: float = 60,
) -> str:
    """Run one of the programs of `tests.live_programs`, and return what it printed.

    It has to end by itself with success and must not print an error: what nobody can catch (a
    warning of an unclosed capture, an exception in a destructor) is printed there.

    Args:
        name: Its module.
        arguments: Its act, the backend, and what the act needs.
        prefix: A command that runs it.
        env: Additions to the environment.
        flags: Options of Python.
        timeout: The most it may take, in seconds.
    """
    run = subprocess.run(
        [*prefix, *PYTHON, *flags, "-m", f"tests.live_programs.{name}", *arguments],
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if run.returncode != 0 or run.stderr:
        pytest.fail(f"{name} {arguments}: status {run.returncode}\n{run.stdout}\n{run.stderr}")
    return run.stdout
