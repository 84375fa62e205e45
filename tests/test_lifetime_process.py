"""Captures and what happens to whole processes: forks, children, signals, privileges, the end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live

from .support.frames import frame, numbered
from .support.resources import open_descriptors
from .support.veth import Veth
from .support.witnesses import tcpdump_count
from .support_live import BACKENDS, PATIENCE, PYTHON, ROOT, flood, numbers, run_program, take

every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.mark.net
@every_backend
@pytest.mark.parametrize(
    "act", ["use_in_child", "use_in_child_with_packets_in_hand", "end_in_child"]
)
def test_a_fork_leaves_the_capture_to_the_parent(act: str, backend: str) -> None:
    run_program("fork", act, backend)


@pytest.mark.net
@every_backend
def test_opened_before_the_privilege_is_dropped(backend: str) -> None:
    run_program("privileges", "open_then_drop", backend)


@pytest.mark.net
@every_backend
@pytest.mark.parametrize("act", ["with_everything_open", "with_a_task_cancelled"])
def test_the_interpreter_ends_whatever_is_open(act: str, backend: str, tmp_path: Path) -> None:
    savefile = tmp_path / "left.pcap"
    # Without the warnings of what was left open, which are right and tested elsewhere.
    run_program("leave", act, backend, str(savefile), flags=())
    if act == "with_everything_open":
        assert tcpdump_count(savefile) == 1


@every_backend
@pytest.mark.parametrize("flooded", [False, True])
def test_an_interrupt_ends_the_loop_and_closes(veth: Veth, flooded: bool, backend: str) -> None:
    argv = [*PYTHON, "-W", "always", "-m", "tests.live_programs.leave", "by_interrupt"]
    with ExitStack() as stack:
        if flooded:
            stack.enter_context(flood(veth, [frame()]))
        process = stack.enter_context(
            subprocess.Popen(
                [*argv, backend, veth.near],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        begun = time.perf_counter()
        printed, errors = process.communicate(timeout=PATIENCE)
        assert time.perf_counter() - begun < 3
    assert process.returncode == -signal.SIGINT
    assert printed == "closed\n"
    assert errors.endswith("KeyboardInterrupt\n")
    assert "Warning" not in errors
    assert "ignored" not in errors


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"immediate": True}])
async def test_a_child_process_does_not_inherit_the_capture(
    veth: Veth, options: dict[str, Any]
) -> None:
    async with await open_live(veth.near, **options) as capture:
        socket = open_descriptors()[capture.fileno()]
        run = subprocess.run(
            ["ls", "-l", "/proc/self/fd"],
            close_fds=False,
            check=True,
            capture_output=True,
            text=True,
        )
        assert "pipe:" in run.stdout
        assert socket not in run.stdout
        assert not os.get_inheritable(capture.fileno())


@pytest.mark.anyio
@pytest.mark.parametrize("waiting", [True, False])
async def test_a_child_that_holds_the_descriptor_keeps_nobody_busy(
    veth: Veth, waiting: bool
) -> None:
    """The kernel goes on reporting a closed descriptor as ready while anybody holds its socket."""

    async def wait(capture: aiopcap.LiveCapture) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await capture.receive()

    capture = await open_live(veth.near)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[capture.fileno()]) as child:
        try:
            async with anyio.create_task_group() as tasks:
                if waiting:
                    tasks.start_soon(wait, capture)
                else:
                    with anyio.move_on_after(0.01):
                        await capture.receive()
                await wait_all_tasks_blocked()
                await capture.aclose()
            veth.send(numbered(100))
            switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            used = time.process_time()
            await anyio.sleep(0.25)
            assert time.process_time() - used < 0.05
            assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - switches < 5
            async with await open_live(veth.near) as another:
                veth.send(numbered(5))
                assert numbers(await take(another, 5)) == list(range(5))
        finally:
            child.kill()
