"""`aiopcap replay` on a cable between two hosts: the far end has what was sent, and counts it."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopcap.cli._commands import cli
from tests.support.frames import frame, numbered, udp_frame
from tests.support.pcapfiles import Record, records
from tests.support.veth import Veth
from tests.support_cli import BACKENDS, aiopcap, started
from tests.support_queues import MS, watched
from tests.support_replay import MODES, save, summary, total

pytestmark = pytest.mark.net

FRAMES = numbered(50)
HOUR_NS = 3_600_000_000_000


def named(value: object) -> str:
    """Name a test by its options."""
    return " ".join(value) if isinstance(value, list) else str(value)


def rest(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.read().decode()


# -- what is sent ----------------------------------------------------------------------------------


@MODES
def test_sends_the_file_as_it_is_and_counts(
    veth: Veth, tmp_path: Path, preload: list[str], backend: str
) -> None:
    frames = [*FRAMES, frame(size=1514), frame()[:14]]
    # An hour from packet to packet, which the fastest way takes no notice of.
    path = save(tmp_path, records(frames, step_ns=HOUR_NS))
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near, *preload, "--backend", backend)
        assert (run.returncode, run.stdout) == (0, "")
        assert far.datas(len(frames)) == frames
        assert far.count == len(frames)
    said = summary(run.stderr)
    assert said[:2] == total(frames)
    assert said[-2:] == (0, 0)
    assert said.megabits_per_second == pytest.approx(
        said.packets_per_second * said.nbytes / said.packets * 8 / 1e6, rel=0.01
    )


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (["udp", "port", "53"], "bd"),
        (["--preload", "udp port 53 or udp port 54"], "bcd"),
        (["--limit", "2"], "ab"),
        (["--limit", "2", "--preload", "udp"], "bc"),
        (["--loop", "2"], "abcdeabcde"),
        (["--loop", "3", "--limit", "12"], "abcdeabcdeab"),
        (["--loop", "3", "--limit", "12", "--preload"], "abcdeabcdeab"),
        (["--loop", "0", "--limit", "5", "not udp"], "aeaea"),
        (["--loop", "0", "--topspeed", "tcp"], ""),
    ],
    ids=named,
)
def test_filter_limit_and_loop(veth: Veth, tmp_path: Path, options: list[str], sent: str) -> None:
    frames = {
        letter: frame(letter.encode()) if port is None else udp_frame(destination_port=port)
        for letter, port in (("a", None), ("b", 53), ("c", 54), ("d", 53), ("e", None))
    }
    wanted = [frames[letter] for letter in sent]
    path = save(tmp_path, records(frames.values()))
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near, *options)
        assert run.returncode == 0, run.stderr
        assert far.datas(len(wanted)) == wanted
        assert far.count == len(wanted)
    assert summary(run.stderr)[:2] == total(wanted)


@pytest.mark.parametrize(
    "options",
    [[], ["--preload"], ["--send-truncated"], ["--send-truncated", "--preload"]],
    ids=named,
)
def test_packets_that_a_capture_has_cut_are_left_out_unless_asked_for(
    veth: Veth, tmp_path: Path, options: list[str]
) -> None:
    path = save(
        tmp_path, [Record(n, data, 1514 if n % 5 == 0 else None) for n, data in enumerate(FRAMES)]
    )
    whole = [data for n, data in enumerate(FRAMES) if "--send-truncated" in options or n % 5]
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near, *options)
        assert far.datas(len(whole)) == whole
        assert far.count == len(whole)
    said = summary(run.stderr)
    assert said[:2] == total(whole)
    assert said.truncated == len(FRAMES) - len(whole)


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "gap"),
    [
        (["--sync"], 0.1),
        (["--sync", "--timing", "gentle", "--preload"], 0.1),
        (["--speed", "2"], 0.05),
        (["--sync", "--speed", "0.5", "--timing", "exact", "--preload"], 0.2),
        (["--pps", "20"], 0.05),
        (["--mbps", "0.006", "--preload"], 0.08),  # the bits of 60 bytes
    ],
    ids=named,
)
def test_schedules(veth: Veth, tmp_path: Path, options: list[str], gap: float) -> None:
    path = save(tmp_path, records(FRAMES[:5], step_ns=100 * MS))
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near, *options)
        assert run.returncode == 0, run.stderr
        arrivals = far.take(5)
    assert [arrival.data for arrival in arrivals] == FRAMES[:5]
    said = summary(run.stderr)
    assert 4 * gap - 0.001 <= said.elapsed < 4 * gap + 1.5
    span = (arrivals[-1].time_ns - arrivals[0].time_ns) / 1e9
    # The first may take its time to the wire.
    assert said.elapsed == pytest.approx(span, abs=0.1)
    assert said.packets_per_second == pytest.approx(5 / said.elapsed, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        ["--sync", "--topspeed"],
        ["--topspeed", "--speed=2"],
        ["--sync", "--pps=5"],
        ["--speed=2", "--mbps=5"],
        ["--pps=5", "--mbps=5"],
        ["--topspeed", "--pps=5"],
    ],
    ids=named,
)
def test_schedules_exclude_each_other(options: list[str]) -> None:
    run = CliRunner().invoke(cli, ["replay", "all.pcap", "lo", *options])
    assert (run.exit_code, run.stdout) == (2, "")
    first, second = (option.partition("=")[0] for option in options)
    assert run.stderr.splitlines()[-1] in {
        f"Error: {first} and {second} exclude each other",
        f"Error: {second} and {first} exclude each other",
    }


@pytest.mark.parametrize(
    "option",
    [
        "--timing=gentle",
        "--timing=sloppy",
        "--speed=0",
        "--pps=-1",
        "--pps=nan",
        "--mbps=inf",
        "--mbps=fast",
        "--loop=-1",
        "--limit=0",
    ],
)
def test_what_makes_no_sense_is_a_usage_error(option: str) -> None:
    run = CliRunner().invoke(cli, ["replay", "all.pcap", "lo", option])
    assert (run.exit_code, run.stdout) == (2, "")
    assert option.partition("=")[0] in run.stderr.splitlines()[-1]


def test_help_says_which_way_is_the_default() -> None:
    words = " ".join(CliRunner().invoke(cli, ["replay", "--help"]).stdout.split())
    assert "As fast as the device takes them. [default]" in words
    assert "0 is endlessly" in words


# -- pipes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_standard_input(veth: Veth, tmp_path: Path, backend: str) -> None:
    content = save(tmp_path, records(FRAMES)).read_bytes()
    with watched(veth) as far:
        run = aiopcap("replay", "-", veth.near, "--backend", backend, stdin=content)
        assert run.returncode == 0
        assert far.datas(len(FRAMES)) == FRAMES
    assert summary(run.stderr)[:2] == total(FRAMES)


def test_a_pipe_is_repeated_only_where_it_is_read_first(veth: Veth, tmp_path: Path) -> None:
    content = save(tmp_path, records(FRAMES)).read_bytes()
    run = aiopcap("replay", "-", veth.near, "--loop", "2", stdin=content)
    assert run.returncode == 2
    assert "--loop needs --preload" in run.stderr
    with watched(veth) as far:
        run = aiopcap("replay", "-", veth.near, "--loop", "2", "--preload", stdin=content)
        assert run.returncode == 0
        assert far.datas(2 * len(FRAMES)) == FRAMES * 2


def test_packets_of_a_pipe_are_sent_as_they_come(veth: Veth, tmp_path: Path) -> None:
    content = save(tmp_path, records(FRAMES[:2])).read_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with watched(veth) as far, started("replay", fifo, veth.near) as process:
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(content[: 24 + 16 + 60])
            assert far.datas(1) == FRAMES[:1]
            pipe.write(content[24 + 16 + 60 :])
            assert far.datas(1) == FRAMES[1:2]
        assert process.wait() == 0
        assert summary(rest(process))[:2] == total(FRAMES[:2])
