"""How `aiopcap replay` ends: by a signal, by an error; and what it says of it."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.frames import frame, numbered
from tests.support.pcapfiles import Record, records
from tests.support.veth import Veth
from tests.support_cli import BACKENDS, aiopcap, started, until, without_privilege
from tests.support_queues import watched
from tests.support_replay import MODES, save, summary, total

pytestmark = pytest.mark.net

FRAMES = numbered(50)


def rest(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.read().decode()


@pytest.mark.parametrize(
    ("number", "preload"),
    [(signal.SIGINT, []), (signal.SIGINT, ["--preload"]), (signal.SIGTERM, [])],
    ids=["SIGINT-streamed", "SIGINT-preloaded", "SIGTERM-streamed"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_ends_it_in_a_long_gap(
    veth: Veth, tmp_path: Path, number: signal.Signals, preload: list[str], backend: str
) -> None:
    path = save(tmp_path, [*records(FRAMES[:2]), Record(2 * 10**18, FRAMES[2])])
    with (
        watched(veth) as far,
        started("replay", path, veth.near, "--sync", *preload, "--backend", backend) as process,
    ):
        assert far.datas(2) == FRAMES[:2]
        asked = time.monotonic()
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert time.monotonic() - asked < 2
        assert summary(rest(process))[:2] == total(FRAMES[:2])
        assert far.count == 2


@MODES
def test_a_signal_ends_an_endless_loop_at_top_speed_with_exact_counts(
    veth: Veth, tmp_path: Path, preload: list[str], backend: str
) -> None:
    path = save(tmp_path, records(numbered(1000)))
    with started("replay", path, veth.near, "--loop", "0", *preload, "--backend", backend) as sends:
        until(lambda: veth.counters("far").rx_packets >= 20_000)
        asked = time.monotonic()
        sends.send_signal(signal.SIGINT)
        # Somebody had to end it: that it was ended is no failure.
        assert sends.wait() == 0
        assert time.monotonic() - asked < 2
        said = summary(rest(sends))
    near = veth.counters("near")
    assert said.packets == near.tx_packets + near.tx_dropped
    until(lambda: veth.counters("far").rx_packets == near.tx_packets)
    assert said.nbytes == 60 * said.packets


@pytest.mark.parametrize(
    "options", [[], ["--pps", "10000"], ["--preload"]], ids=["topspeed", "pps", "preloaded"]
)
def test_a_bad_frame_in_the_middle(veth: Veth, tmp_path: Path, options: list[str]) -> None:
    path = save(tmp_path, records([*FRAMES[:30], frame(size=1600), *FRAMES[30:]]))
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near, *options)
        assert (run.returncode, run.stdout) == (1, "")
        assert far.datas(30) == FRAMES[:30]
        assert far.count == 30
    counted, error = run.stderr.splitlines()
    said = summary(counted)
    assert (said[:2], said.failed) == (total(FRAMES[:30]), 1)
    assert error.startswith(f"aiopcap: packet 30: {veth.near}: a frame of 1600 bytes is too long")


def test_a_device_that_is_pulled_out(veth: Veth, tmp_path: Path) -> None:
    path = save(tmp_path, records(numbered(10_000)))
    with started("replay", path, veth.near, "--pps", "100") as process:
        until(lambda: veth.counters("far").rx_packets >= 3)
        veth.delete()
        assert process.wait() == 1
        counted, error = rest(process).splitlines()
    said = summary(counted)
    assert said.packets >= 3
    assert said.failed == 1
    assert error.startswith(f"aiopcap: packet {said.packets}: {veth.near}: ")


def test_a_damaged_file_is_sent_up_to_the_damage_and_preloaded_not_at_all(
    veth: Veth, tmp_path: Path
) -> None:
    path = save(tmp_path, records(FRAMES))
    path.write_bytes(path.read_bytes()[:-1])
    with watched(veth) as far:
        run = aiopcap("replay", path, veth.near)
        assert run.returncode == 1
        assert far.datas(len(FRAMES) - 1) == FRAMES[:-1]
        counted, error = run.stderr.splitlines()
        said = summary(counted)
        assert (said[:2], said.failed) == (total(FRAMES[:-1]), 0)
        assert error.startswith(f"aiopcap: {path}: truncated")
        run = aiopcap("replay", path, veth.near, "--preload")
        assert run.returncode == 1
        assert run.stderr.startswith(f"aiopcap: {path}: truncated")
        assert far.count == len(FRAMES) - 1


def test_errors_before_anything_is_sent_are_one_line(veth: Veth, tmp_path: Path) -> None:
    path, text = save(tmp_path, records(FRAMES)), tmp_path / "text"
    text.write_text("this is not a capture at all\n")
    cases: list[tuple[list[str | Path], str]] = [
        ([path, "nosuchdevice0"], "nosuchdevice0: No such device exists"),
        ([path, "any"], "any: packets cannot be sent"),
        ([tmp_path / "missing", veth.near], f"{tmp_path}/missing: No such file or directory"),
        ([tmp_path, veth.near, "--loop", "2"], f"{tmp_path}: Is a directory"),
        ([text, veth.near], f"{text}: unknown file format"),
        ([path, veth.near, "udp", "prt", "53"], "can't parse filter expression: syntax error"),
    ]
    for arguments, words in cases:
        run = aiopcap("replay", *arguments)
        assert (run.returncode, run.stdout) == (1, ""), arguments
        assert run.stderr.startswith(f"aiopcap: {words}"), run.stderr
        assert run.stderr.count("\n") == 1, run.stderr
    assert veth.counters("far").rx_packets == 0
    veth.set_link(False)
    run = aiopcap("replay", path, veth.near)
    assert (run.returncode, run.stderr) == (1, f"aiopcap: {veth.near}: That device is not up\n")


def test_without_the_privilege_it_says_which_is_missing(tmp_path: Path) -> None:
    path = save(tmp_path, records(FRAMES))
    run = aiopcap("replay", path, "lo", prefix=without_privilege())
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "CAP_NET_RAW" in run.stderr
