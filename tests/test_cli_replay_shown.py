"""What `aiopcap replay` shows beside its counts, and how much memory it takes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.frames import frame, numbered
from tests.support.pcapfiles import records
from tests.support.veth import Veth
from tests.support_cli import Terminal, aiopcap, started, until
from tests.support_replay import PRELOAD, save, summary, total

pytestmark = pytest.mark.net

FRAMES = numbered(50)

# A file of which more than one piece is read, and which is not counted first.
LARGE = 60_000


def test_quiet_says_nothing_but_errors(veth: Veth, tmp_path: Path) -> None:
    path = save(tmp_path, records([*FRAMES, frame(size=1600)]))
    run = aiopcap("replay", path, veth.near, "-q", "--limit", "5")
    assert (run.returncode, run.stderr) == (0, "")
    run = aiopcap("replay", path, veth.near, "-q")
    assert run.returncode == 1
    assert run.stderr.startswith("aiopcap: packet 50: ")
    assert run.stderr.count("\n") == 1
    assert veth.counters("far").rx_packets == 5 + 50


@PRELOAD
def test_another_link_type_is_noted(veth: Veth, tmp_path: Path, preload: list[str]) -> None:
    path = save(tmp_path, records(FRAMES), linktype=101)
    run = subprocess.run(
        [sys.executable, "-m", "aiopcap", "replay", path, veth.near, *preload],
        capture_output=True,
        text=True,
        check=True,
    )
    warned, counted = run.stderr.splitlines()
    assert warned.startswith("aiopcap: warning: ")
    assert "RAW" in warned
    assert summary(counted)[:2] == total(FRAMES)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("large"), records([frame(size=1514)] * LARGE))


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ([], 2000),
        (["--limit", "20"], 20),
        (["--preload", "--loop", "2"], 4000),
        (["--loop", "0", "--limit", "3000", "--pps", "6000"], 3000),
    ],
    ids=["counted", "limit", "preloaded", "loop-to-a-limit"],
)
def test_a_bar_on_a_terminal(veth: Veth, tmp_path: Path, options: list[str], sent: int) -> None:
    path = save(tmp_path, records(numbered(2000)))
    check_bar(veth, path, options, sent)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_bar_for_a_large_file(veth: Veth, large: Path, passes: int) -> None:
    check_bar(veth, large, ["--loop", str(passes)], LARGE * passes)


def check_bar(veth: Veth, path: Path, options: list[str], sent: int) -> None:
    with (
        Terminal() as terminal,
        started("replay", path, veth.near, *options, stderr=terminal.end) as process,
    ):
        terminal.read_until("failed\n")
        assert process.wait() == 0
    *bars, last = terminal.shown.replace("\r", "\n").splitlines()
    bars = [bar for bar in bars if bar]
    assert bars[-1].startswith(f"{sent:,} packets ")
    assert bars[-1].endswith(" 100% 0:00:00")
    assert max(map(len, bars)) <= 80
    assert summary(last).packets == sent


def test_what_has_no_end_has_no_bar_to_fill(veth: Veth, tmp_path: Path) -> None:
    path = save(tmp_path, records(numbered(20)))
    options = ["--loop", "0", "--pps", "100"]
    with (
        Terminal() as terminal,
        started("replay", path, veth.near, *options, stderr=terminal.end) as process,
    ):
        terminal.read_until("packets/s ")
        process.send_signal(signal.SIGINT)
        terminal.read_until("failed\n")
        assert process.wait() == 0
    assert "%" not in terminal.shown
    summary(terminal.shown.splitlines()[-1])


@pytest.mark.memory
def test_a_large_file_is_not_kept_in_memory_unless_asked_for(veth: Veth, large: Path) -> None:
    def most_memory(*options: str) -> int:
        enough = veth.counters("far").rx_packets + 2 * LARGE
        with started("replay", large, veth.near, "--loop", "0", *options) as process:
            until(lambda: veth.counters("far").rx_packets > enough)
            status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    assert most_memory("--preload") - most_memory() > large.stat().st_size / 2
