"""`aiopcap capture` on a cable between two hosts, with tcpdump as the witness of what it wrote."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

import pytest

from tests.support.frames import numbered, udp_frame
from tests.support.oracle import read_pcap
from tests.support.veth import Veth
from tests.support.witnesses import tcpdump_count, tcpdump_records
from tests.support_cli import (
    BACKENDS,
    Terminal,
    aiopcap,
    begun,
    started,
    until,
    without_privilege,
)

pytestmark = pytest.mark.net

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def read_lines(stream: IO[bytes] | None, count: int) -> list[str]:
    assert stream is not None
    return [stream.readline().decode() for _ in range(count)]


def rest(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.read().decode()


def counts(captured: int, dropped: int = 0) -> str:
    packets = "1 packet" if captured == 1 else f"{captured} packets"
    return (
        f"aiopcap: {packets} captured, {captured} received by filter, {dropped} dropped by kernel\n"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_prints_a_line_for_each_packet_as_it_comes(veth: Veth, backend: str) -> None:
    with started("capture", veth.near, "--time", "epoch", "--backend", backend) as process:
        begun(process)
        for size in (60, 100):
            before = time.time_ns()
            veth.send(udp_frame(b"hello", size=size))
            (line,) = read_lines(process.stdout, 1)
            when, device, length, summary = line.split(maxsplit=3)
            assert before <= int(when.replace(".", "")) <= time.time_ns()
            assert (device, length) == (veth.near, str(size))
            assert summary == "UDP 192.0.2.2:40000 > 192.0.2.1:9 length 5\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert rest(process) == counts(2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("target", ["lines", "savefile"])
def test_a_signal_ends_it_at_once_on_an_idle_link(
    veth: Veth, tmp_path: Path, target: str, number: signal.Signals, backend: str
) -> None:
    path = tmp_path / "idle.pcap"
    arguments = ["-w", str(path)] if target == "savefile" else []
    with started("capture", veth.near, *arguments, "--backend", backend) as process:
        begun(process)
        asked = time.monotonic()
        process.send_signal(number)
        assert process.wait() == 0
        assert time.monotonic() - asked < 1
        assert rest(process) == counts(0)
    if target == "savefile":
        assert tcpdump_count(path) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_loses_nothing_that_came_before(
    veth: Veth, tmp_path: Path, number: signal.Signals, backend: str
) -> None:
    path = tmp_path / "all.pcap"
    frames = numbered(500)
    before = veth.counters("near").rx_packets
    with started("capture", veth.near, "-w", path, "--backend", backend) as process:
        begun(process)
        veth.send(frames)
        until(lambda: veth.counters("near").rx_packets == before + len(frames))
        process.send_signal(number)
        assert process.wait() == 0
        assert rest(process) == counts(len(frames))
    assert [record.data for record in tcpdump_records(path)] == frames


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_filter_in_several_words(veth: Veth, tmp_path: Path, backend: str) -> None:
    path = tmp_path / "udp.pcap"
    wanted = [udp_frame(b"%d" % n, destination_port=53) for n in range(7)]
    words = ["udp", "port", "53", "and", "host", "192.0.2.1"]
    with started(
        "capture", veth.near, *words, "-w", path, "-c", "7", "--backend", backend
    ) as process:
        begun(process)
        for data in wanted:
            veth.send([*numbered(3), data, udp_frame(b"no", destination_port=54)])
        assert process.wait() == 0
        assert rest(process) == counts(7)
    assert [record.data for record in tcpdump_records(path)] == wanted


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [1, 3, 1000])
@pytest.mark.parametrize("target", ["lines", "savefile"])
def test_the_count_is_exact(
    veth: Veth, tmp_path: Path, target: str, count: int, backend: str
) -> None:
    path = tmp_path / "count.pcap"
    arguments = ["-w", str(path)] if target == "savefile" else []
    frames = numbered(2000)
    with started(
        "capture", veth.near, "-c", str(count), *arguments, "--backend", backend
    ) as process:
        begun(process)
        veth.send(frames)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        assert process.wait() == 0
        assert rest(process).startswith(f"aiopcap: {count} packet")
    if target == "lines":
        assert len(lines) == count
    else:
        assert lines == []
        assert [record.data for record in tcpdump_records(path)] == frames[:count]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_duration_ends_it(veth: Veth, tmp_path: Path, backend: str) -> None:
    path = tmp_path / "short.pcap"
    with started(
        "capture", veth.near, "-w", path, "--duration", "0.3", "--backend", backend
    ) as process:
        begun(process)
        began = time.monotonic()
        assert process.wait() == 0
        assert 0.2 < time.monotonic() - began < 2
        assert rest(process) == counts(0)
    assert tcpdump_count(path) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_packet_goes_into_a_pipe_at_once(veth: Veth, backend: str) -> None:
    with started("capture", veth.near, "-w", "-", "--backend", backend) as process:
        begun(process)
        assert process.stdout is not None
        content = b""
        for data in numbered(3):
            veth.send(data)
            # The file's header comes with the first packet at the latest.
            content += process.stdout.read((0 if content else 24) + 16 + len(data))
            assert content.endswith(data)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.wait() == 0
        assert rest(process) == counts(3)
    assert read_pcap(content).complete


def test_tcpdump_reads_from_the_pipe(veth: Veth) -> None:
    with (
        started("capture", veth.near, "-w", "-", "-c", "5") as process,
        subprocess.Popen(
            ["tcpdump", "-r", "-", "--count"],
            stdin=process.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as tcpdump,
    ):
        begun(process)
        veth.send(numbered(5))
        assert tcpdump.stdout is not None
        assert tcpdump.stdout.read().split()[0] == b"5"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("arguments", [[], ["-w", "-"]], ids=["lines", "savefile"])
def test_a_reader_that_has_enough_ends_it_without_a_word(
    veth: Veth, arguments: list[str], backend: str
) -> None:
    with started("capture", veth.near, *arguments, "--backend", backend) as process:
        begun(process)
        veth.send(numbered(1))
        assert process.stdout is not None
        process.stdout.read(24)
        process.stdout.close()
        veth.send(numbered(1))
        assert process.wait() == 1
        assert rest(process) == ""


def test_a_quiet_link_does_not_keep_packets_from_the_file(veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / "slow.pcap"
    with started("capture", veth.near, "-w", path) as process:
        begun(process)
        veth.send(numbered(1))
        until(lambda: path.stat().st_size == 24 + 16 + 60)


def test_counters_on_a_terminal(veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / "seen.pcap"
    with (
        Terminal() as terminal,
        started("capture", veth.near, "-w", path, stderr=terminal.end) as process,
    ):
        terminal.read_until("capturing on")
        veth.send(numbered(12))
        terminal.read_until("12 written (936 bytes)  12 received  0 dropped")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        terminal.read_until(counts(12))
        assert max(map(len, terminal.shown.splitlines())) <= 80
    assert tcpdump_count(path) == 12


def test_quiet_says_nothing(veth: Veth) -> None:
    with started("capture", veth.near, "-q", "-c", "1") as process:
        # It does not say when it has begun.
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        found = b""

        def sent_and_seen() -> bool:
            nonlocal found
            veth.send(numbered(1))
            found += process.stdout.read() or b"" if process.stdout else b""
            return bool(found)

        until(sent_and_seen)
        assert process.wait() == 0
        assert found.count(b"\n") == 1
        assert rest(process) == ""


@pytest.mark.parametrize(("snaplen", "size"), [("20", 20), ("1K", 60)])
def test_options_reach_the_capture(veth: Veth, tmp_path: Path, snaplen: str, size: int) -> None:
    path = tmp_path / "options.pcap"
    options = ["-s", snaplen, "-B", "4M", "--buffer-timeout", "0.01", "--direction", "in"]
    options += ["--precision", "micro", "-p", "--timestamp-type", "host"]
    with started("capture", veth.near, *options, "-w", path, "-c", "2") as process:
        begun(process)
        veth.send(numbered(1), end="near")
        veth.send(numbered(2))
        assert process.wait() == 0
    found = read_pcap(path.read_bytes())
    assert found.precision == "micro"
    assert [len(record.data) for record in found.records] == [size] * 2
    assert [record.wire_length for record in found.records] == [60] * 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_device_that_is_pulled_out(veth: Veth, tmp_path: Path, backend: str) -> None:
    path = tmp_path / "gone.pcap"
    frames = numbered(20)
    with started("capture", veth.near, "-w", path, "--backend", backend) as process:
        begun(process)
        veth.send(frames)
        veth.delete()
        assert process.wait() == 1
        counted, error = rest(process).splitlines()
        assert counted.startswith("aiopcap: 20 packets captured")
        assert error.startswith(f"aiopcap: {veth.near}: ")
    assert [record.data for record in tcpdump_records(path)] == frames


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_are_one_line(veth: Veth, tmp_path: Path, backend: str) -> None:
    path = tmp_path / "none.pcap"
    veth.set_link(False)
    for arguments, words in [
        (["nosuchdevice0"], "nosuchdevice0: No such device exists"),
        ([veth.near], f"{veth.near}: That device is not up"),
        (["any", "udp", "prt", "53"], "can't parse filter expression: syntax error"),
        (["any", "-w", str(tmp_path)], f"{tmp_path}: Is a directory"),
    ]:
        run = aiopcap("capture", "-w", path, *arguments, "--backend", backend)
        assert (run.returncode, run.stdout) == (1, ""), arguments
        assert run.stderr == f"aiopcap: {words}\n"
        assert not path.exists()


def test_numbers_out_of_range_are_usage_errors() -> None:
    for option, value in [
        ("-c", "0"),
        ("-s", "0"),
        ("-B", "2T"),
        ("-B", "4G"),
        ("--buffer-timeout", "0"),
        ("--duration", "-1"),
        ("--direction", "up"),
    ]:
        run = aiopcap("capture", "lo", option, value)
        assert (run.returncode, run.stdout) == (2, ""), option
        assert value in run.stderr


def test_without_the_privilege_it_says_which_is_missing_and_how_to_grant_it() -> None:
    run = aiopcap("capture", "lo", prefix=without_privilege())
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.count("\n") == 1
    for words in ("CAP_NET_RAW", "setcap"):
        assert words in run.stderr
