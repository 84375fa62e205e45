"""`aiopcap demo`: the main job in one screen, with the privilege and without."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.oracle import read_pcap
from tests.support.witnesses import tcpdump, tcpdump_count
from tests.support_cli import BACKENDS, Terminal, aiopcap, started, without_privilege

SENT, WANTED = 12, 6


def savefile(output: str) -> Path:
    """The file that the demo says it wrote."""
    found = re.search(r"^file +(\S+),\s+(\d+) bytes$", output, re.MULTILINE)
    assert found is not None
    path = Path(found[1])
    assert path.stat().st_size == int(found[2])
    return path


def port(output: str) -> int:
    """The port that the demo's filter lets pass."""
    found = re.search(r"filter: udp and dst port (\d+)$", output, re.MULTILINE)
    assert found is not None
    return int(found[1])


def check_savefile(path: Path, to_port: int) -> None:
    """What tcpdump finds in it: every other datagram, all of them to the port."""
    assert tcpdump_count(path) == tcpdump_count(path, f"udp dst port {to_port}") == WANTED
    payloads = re.findall(r"datagram (\d\d)", tcpdump(path, "-A"))
    assert payloads == [f"{number:02d}" for number in range(1, SENT, 2)]


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_real_traffic(tmp_path: Path, backend: str) -> None:
    began = time.monotonic()
    run = aiopcap("demo", "--backend", backend, env={"TMPDIR": str(tmp_path)})
    assert time.monotonic() - began < 10
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("aiopcap ")
    assert f" on {backend}, libpcap " in run.stdout
    path, to_port = savefile(run.stdout), port(run.stdout)
    assert tmp_path in path.parents
    check_savefile(path, to_port)
    row = re.compile(r"^\d\d:\d\d:\d\d\.(\d{9})  UDP .*:(\d+) +53  datagram", re.MULTILINE)
    rows = row.findall(run.stdout)
    expected = [
        record.timestamp_ns % 1_000_000_000 for record in read_pcap(path.read_bytes()).records
    ]
    assert [int(fraction) for fraction, _ in rows] == expected
    assert {int(destination) for _, destination in rows} == {to_port}
    # Each once as it leaves and once as it arrives.
    assert f"statistics {2 * WANTED} received, 0 dropped by the kernel" in run.stdout


@pytest.mark.net
@pytest.mark.parametrize("columns", [80, 100])
def test_it_fits_on_a_screen(columns: int) -> None:
    with Terminal(columns) as terminal, started("demo", stdout=terminal.end) as process:
        terminal.read_until("look again")
        assert process.wait() == 0
        terminal.read_rest()
        *lines, command = terminal.shown.splitlines()
        path = savefile(terminal.shown)
        assert command.endswith(f" read {path}")
        shutil.rmtree(path.parent)
    # The command is in one piece, however long the path of this checkout is.
    assert max(map(len, lines)) <= columns
    assert len(lines) < 24


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_the_privilege_it_says_so_and_uses_a_file(tmp_path: Path, backend: str) -> None:
    run = aiopcap(
        "demo",
        "--backend",
        backend,
        prefix=without_privilege(),
        env={"TMPDIR": str(tmp_path)},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "CAP_NET_RAW" in run.stdout
    assert re.search(r"^ +sudo setcap \S.*$", run.stdout, re.MULTILINE)
    path = savefile(run.stdout)
    check_savefile(path, port(run.stdout))
    made = path.with_name("made.pcap")
    assert str(made) in run.stdout
    assert tcpdump_count(made, "udp and src host 127.0.0.1") == SENT
    assert "cksum" not in tcpdump(made, "-v").replace("no cksum", "")


@pytest.mark.net
def test_without_a_loopback_device_it_uses_a_file(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    # In a new namespace the loopback device is down.
    run = aiopcap("demo", prefix=[unshare, "--net"], env={"TMPDIR": str(tmp_path)})
    assert (run.returncode, run.stderr) == (0, "")
    assert "no loopback device that is up" in run.stdout
    check_savefile(savefile(run.stdout), port(run.stdout))


@pytest.mark.net
def test_the_command_that_it_prints_reads_the_file(tmp_path: Path) -> None:
    output = aiopcap("demo", env={"TMPDIR": str(tmp_path)}).stdout
    command = output.splitlines()[-1].removeprefix("look again").split()
    root = Path(__file__).parent.parent
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == WANTED
