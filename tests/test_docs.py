"""The programs shown in the documentation run, and do what the text says.

Blocks that need no privilege are run by Sphinx's doctest builder, in `scripts/check`; here are
those that need a device.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.frames import FAR_MAC, frame, numbered, udp_frame
from tests.support.namespaces import Namespace
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.veth import Veth, veth_pair
from tests.support_queues import watched
from tests.support_send import Gate

SNIPPETS = Path(__file__).parent.parent / "docs" / "snippets"
TIMEOUT = 30  # seconds that a program may take

pytestmark = pytest.mark.net

# Runs a program's `main` on a backend, as its last line does on the default one.
ON_BACKEND = """
import importlib, sys, anyio
module, backend, *arguments = sys.argv[1:]
arguments = [float(t) if t.replace(".", "", 1).isdigit() else t for t in arguments]
anyio.run(importlib.import_module(module).main, *arguments, backend=backend)
"""


@pytest.fixture
def quiet_host() -> Iterator[Namespace]:
    """A host with a loopback device and nothing else, where nobody talks."""
    with Namespace() as host:
        host.run(subprocess.run, ["ip", "link", "set", "lo", "up"], check=True)
        yield host


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loops that programs are run on."""
    name: str = request.param
    return name


@pytest.fixture
def popen(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program in an empty folder; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*argv: str, host: Namespace | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", *argv]
        process = subprocess.Popen(
            command if host is None else host.command(*command),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(SNIPPETS), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a program that succeeds, and return what it printed."""
    printed, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, printed
    return printed


def wait_for_line(stream: IO[str] | None, text: str) -> str:
    """Read lines until one contains the text."""
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"no {text!r} in {seen}")


def test_tutorial(
    popen: Callable[..., subprocess.Popen[str]],
    quiet_host: Namespace,
    backend: str,
    tmp_path: Path,
) -> None:
    captured = output(popen("-c", ON_BACKEND, "tutorial_capture", backend, host=quiet_host))
    assert [line.split()[-2:] for line in captured.splitlines()] == [
        ["b'hello", f"{number}'"] for number in range(3)
    ]
    dumped = output(popen("-c", ON_BACKEND, "tutorial_dump", backend, host=quiet_host))
    assert dumped == "CaptureStatistics(received=6, dropped=0, if_dropped=0)\n"
    assert (tmp_path / "first.pcap").stat().st_size == 24 + 3 * (16 + 49)
    read = output(popen("-c", ON_BACKEND, "tutorial_read", backend)).splitlines()
    assert read[0] == "pcap EN10MB 9"
    assert len(read) == 4
    assert re.fullmatch(r"\+\d+ ns <Packet [-\d]+T[:\d]+\.\d{9}Z 49 bytes>", read[3])


def test_any_device(
    popen: Callable[..., subprocess.Popen[str]], quiet_host: Namespace, backend: str
) -> None:
    printed = output(popen("-c", ON_BACKEND, "any_device", backend, host=quiet_host))
    # The cooked header has 20 bytes, IPv4 20, UDP 8, and 5 were sent.
    assert re.fullmatch(r"lo \d{19} 53\n", printed)


def test_live_dump(
    popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str, tmp_path: Path
) -> None:
    process = popen("-c", ON_BACKEND, "live_dump", backend, veth.near, "udp.pcap")
    wait_for_line(process.stdout, "0 packets, 0 dropped")
    veth.send([udp_frame(), frame()])
    wait_for_line(process.stdout, "1 packets, 0 dropped")
    process.send_signal(signal.SIGINT)
    process.wait(TIMEOUT)
    assert (tmp_path / "udp.pcap").stat().st_size == 24 + 16 + 60


def test_several_devices(
    popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str
) -> None:
    process = popen("-c", ON_BACKEND, "several_devices", backend, "lo", veth.near)
    wait_for_line(process.stdout, f"capturing on {veth.near}")
    veth.send(frame(b"here"))
    wait_for_line(process.stdout, f"{veth.near}: 1 packets, 60 bytes")


def test_merged_devices(
    popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str
) -> None:
    process = popen("-c", ON_BACKEND, "merged_devices", backend, "lo", veth.near)
    wait_for_line(process.stdout, f"capturing on lo, {veth.near}")
    veth.send(frame(b"here"))
    wait_for_line(process.stdout, f" {veth.near}: 60 bytes")


def test_fanout(popen: Callable[..., subprocess.Popen[str]], quiet_host: Namespace) -> None:
    process = popen(str(SNIPPETS / "fanout.py"), "lo", "1", host=quiet_host)
    lines = output(process).splitlines()
    assert len(lines) == (os.cpu_count() or 1)
    assert all(re.fullmatch(r"worker \d+: \d+ packets, 0 dropped", line) for line in lines)


def test_drop_privileges(popen: Callable[..., subprocess.Popen[str]], veth: Veth) -> None:
    process = popen(str(SNIPPETS / "drop_privileges.py"), veth.near, "nobody", "2")
    assert "as uid 0" not in wait_for_line(process.stdout, "as uid")
    veth.send([frame(b"no UDP"), udp_frame(b"one"), udp_frame(b"two")])
    assert output(process).count(veth.near) == 2


def test_service(popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str) -> None:
    process = popen("-c", ON_BACKEND, "service", backend, veth.near, "0.05")
    wait_for_line(process.stdout, "ready")
    veth.send([frame(ethertype=0x0800), frame(ethertype=0x0800), frame(ethertype=0x86DD)])
    wait_for_line(process.stdout, "{'ip': 2, 'ip6': 1, 'other': 0}")
    process.send_signal(signal.SIGINT)
    assert output(process).endswith("in all: {'ip': 2, 'ip6': 1, 'other': 0} dropped: 0\n")


def test_service_in_a_nursery(popen: Callable[..., subprocess.Popen[str]], veth: Veth) -> None:
    program = """
import service, sys, trio
async def main():
    monitor = service.Monitor(sys.argv[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(monitor.run)
        print("ready")
        while not monitor.counts["other"]:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    print(monitor.counts)
trio.run(main)
"""
    process = popen("-c", program, veth.near)
    wait_for_line(process.stdout, "ready")
    veth.send(frame())
    assert output(process) == "{'ip': 0, 'ip6': 0, 'other': 1}\n"


def test_reconnect(popen: Callable[..., subprocess.Popen[str]], veth: Veth) -> None:
    process = popen(str(SNIPPETS / "reconnect.py"), veth.near)
    for _ in range(2):
        wait_for_line(process.stdout, "capturing")
        veth.send(frame())
        wait_for_line(process.stdout, "60 bytes")
        veth.delete()
        wait_for_line(process.stdout, "is gone")
        veth.create()
    wait_for_line(process.stdout, "capturing")


def test_wire(popen: Callable[..., subprocess.Popen[str]], quiet_host: Namespace) -> None:
    argv = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(SNIPPETS / "test_wire.py")]
    assert "4 passed" in output(popen(*argv, host=quiet_host))


def test_arping(popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str) -> None:
    asked = bytes.fromhex("c0000207")  # 192.0.2.7
    with watched(veth) as far:
        process = popen("-c", ON_BACKEND, "arping", backend, veth.near, "192.0.2.7")
        (question,) = far.datas(1)
        own = question[6:12]
        probe = bytes.fromhex("0806 0001 0800 06 04 0001") + own + bytes(4) + bytes(6) + asked
        assert question == b"\xff" * 6 + own + probe
        answer = bytes.fromhex("0001 0800 06 04 0002") + FAR_MAC + asked + own + bytes(4)
        veth.send(frame(b"no answer"))
        veth.send(frame(answer, ethertype=0x0806, destination=own))
        assert output(process) == f"{FAR_MAC.hex(':')}\n"


def test_forward(popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str) -> None:
    with veth_pair() as other, watched(other) as far:
        process = popen("-c", ON_BACKEND, "forward", backend, veth.near, other.near)
        wait_for_line(process.stdout, "forwarding")
        veth.send(numbered(3), end="near")  # what leaves is not forwarded
        veth.send(numbered(500, 100, start=100))
        assert far.datas(500) == numbered(500, 100, start=100)
        assert far.count == 500


def test_send_ways(popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str) -> None:
    Gate(veth).shut()
    printed = output(popen("-c", ON_BACKEND, "send_ways", backend, veth.near))
    found = re.fullmatch(r"(\d+) sent, False\n", printed)
    assert found is not None
    assert 10 < int(found[1]) < 10_000


def test_replay_file(
    popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap_bytes(records([*numbered(5), frame(size=1600), *numbered(5)])))
    with watched(veth) as far:
        printed = output(popen("-c", ON_BACKEND, "replay_file", backend, str(path), veth.near))
        assert far.datas(5) == numbered(5)
        assert far.count == 5
    *_, progress, error = printed.splitlines()
    assert progress.startswith("5 packets, ")
    assert re.fullmatch(r"packet 5: .* 1600 bytes is too long .*; 5 were sent before it", error)


def test_resume(
    popen: Callable[..., subprocess.Popen[str]], veth: Veth, backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap_bytes(records(numbered(20))))
    with watched(veth) as far:
        printed = output(popen("-c", ON_BACKEND, "resume", backend, str(path), veth.near))
        assert far.datas(20) == numbered(20)
        assert far.count == 20
    found = re.fullmatch(r"paused before packet (\d+)\nsent the other (\d+)\n", printed)
    assert found is not None
    assert 1 <= int(found[1]) < 20
    assert int(found[1]) + int(found[2]) == 20
