"""`aiopcap read`: lines and copies of savefiles, as tcpdump sees the same files."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.frames import frame, numbered, udp_frame, vlan_frame
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.pcapngfiles import enhanced_packet, interface, section
from tests.support.witnesses import tcpdump_count, tcpdump_records
from tests.support_cli import BACKENDS, Terminal, aiopcap, started, until

MIXED = [
    *(udp_frame(b"x" * n, source_port=1000 + n, destination_port=53 + n % 2) for n in range(20)),
    *(vlan_frame(vlan=n) for n in range(5)),
    *numbered(10),
    frame(b"arp", ethertype=0x0806),
]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.pcap"
    path.write_bytes(pcap_bytes(records(MIXED, step_ns=1_000_001), precision="nano"))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file whose lines no pipe holds."""
    path = tmp_path / "large.pcap"
    path.write_bytes(pcap_bytes(records(numbered(20_000)), precision="nano"))
    return path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "words", [[], ["udp", "port", "53"], ["vlan 3"], ["not", "ip"], ["greater", "70"], ["tcp"]]
)
def test_prints_the_packets_that_tcpdump_finds(mixed: Path, words: list[str], backend: str) -> None:
    run = aiopcap("read", mixed, *words, "--backend", backend)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(run.stdout.splitlines()) == tcpdump_count(mixed, " ".join(words))


def test_a_line_is_time_length_and_summary(mixed: Path) -> None:
    lines = aiopcap("read", mixed, "--time", "epoch").stdout.splitlines()
    times_ns = [int(line.split()[0].replace(".", "")) for line in lines]
    assert times_ns == [record.timestamp_ns for record in tcpdump_records(mixed)]
    assert lines[0].split(maxsplit=2)[1:] == ["60", "UDP 192.0.2.2:1000 > 192.0.2.1:53 length 0"]


def test_local_time_is_that_of_the_time_zone(mixed: Path) -> None:
    run = aiopcap("read", mixed, "-c", "1", env={"TZ": "XXX-02:30"})
    assert run.stdout.startswith("00:43:20.000000000 ")


def test_a_cut_packet_shows_both_lengths(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes([Record(0, udp_frame(b"hello")[:20], 1514)]))
    assert aiopcap("read", path).stdout.split(maxsplit=1)[1] == "20/1514 [cut]\n"


def test_hex_shows_the_bytes(mixed: Path) -> None:
    lines = aiopcap("read", mixed, "-x", "-c", "1").stdout.splitlines()
    shown = "".join("".join(line[10:49].split()) for line in lines[1:])
    assert bytes.fromhex(shown) == MIXED[0]


def test_pcapng_says_the_device(tmp_path: Path) -> None:
    path = tmp_path / "two.pcapng"
    path.write_bytes(
        section() + interface(name="wan0") + enhanced_packet(MIXED[0], 1_700_000_000_000_000)
    )
    assert aiopcap("read", path).stdout.split()[1] == "wan0"


@pytest.mark.parametrize("count", [1, 7, 36, 1000])
def test_count(mixed: Path, count: int) -> None:
    run = aiopcap("read", mixed, "-c", str(count))
    assert len(run.stdout.splitlines()) == min(count, len(MIXED))


@pytest.mark.parametrize("backend", BACKENDS)
def test_standard_input(mixed: Path, backend: str) -> None:
    run = aiopcap("read", "-", "vlan", "--backend", backend, stdin=mixed.read_bytes())
    assert (run.returncode, run.stderr) == (0, "")
    assert len(run.stdout.splitlines()) == 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_is_the_same_file(mixed: Path, tmp_path: Path, backend: str) -> None:
    copy = tmp_path / "copy.pcap"
    run = aiopcap("read", mixed, "-w", copy, "--backend", backend)
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == f"aiopcap: {len(MIXED)} packets written to {copy}\n"
    assert copy.read_bytes() == mixed.read_bytes()


def test_a_copy_holds_what_passes_the_filter(mixed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pcap"
    aiopcap("read", mixed, "-w", copy, "udp", "-c", "3")
    assert tcpdump_records(copy) == tcpdump_records(mixed, "udp")[:3]


def test_a_copy_keeps_the_precision_unless_told_otherwise(tmp_path: Path) -> None:
    source, kept, finer = (tmp_path / name for name in ("source.pcap", "kept.pcap", "finer.pcap"))
    source.write_bytes(pcap_bytes(records(MIXED), precision="micro"))
    aiopcap("read", source, "-w", kept)
    aiopcap("read", source, "-w", finer, "--precision", "nano")
    assert kept.read_bytes() == source.read_bytes()
    assert read_pcap(finer.read_bytes()).precision == "nano"
    assert tcpdump_records(finer) == tcpdump_records(source)


def test_a_copy_into_a_pipe(mixed: Path) -> None:
    with started("read", mixed, "-w", "-", "udp") as process:
        assert process.stdout is not None
        content = process.stdout.read()
        assert process.wait() == 0
    assert len(read_pcap(content).records) == tcpdump_count(mixed, "udp")


def test_a_file_is_not_copied_to_itself(mixed: Path) -> None:
    before = mixed.read_bytes()
    run = aiopcap("read", mixed, "-w", mixed)
    assert (run.returncode, run.stderr) == (1, f"aiopcap: {mixed}: cannot be copied to itself\n")
    assert mixed.read_bytes() == before


def test_no_savefile_goes_to_a_terminal(mixed: Path) -> None:
    with Terminal() as terminal, started("read", mixed, "-w", "-", stdout=terminal.end) as process:
        assert process.stderr is not None
        assert b"not for a terminal" in process.stderr.read()
        assert process.wait() == 2
        terminal.read_rest()
        assert terminal.shown == ""


def test_a_copy_shows_its_progress_on_a_terminal(large: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pcap"
    with (
        Terminal() as terminal,
        started("read", large, "-w", copy, stderr=terminal.end, stdout=terminal.end) as process,
    ):
        terminal.read_until("20000 packets written")
        assert process.wait() == 0
        assert " %" in terminal.shown
    assert copy.read_bytes() == large.read_bytes()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", ["lines", "copy"])
def test_a_cut_file_gives_its_packets_and_then_the_error(
    mixed: Path, tmp_path: Path, target: str, backend: str
) -> None:
    mixed.write_bytes(mixed.read_bytes()[:-1])
    copy = tmp_path / "copy.pcap"
    arguments = ["-w", str(copy)] if target == "copy" else []
    run = aiopcap("read", mixed, *arguments, "--backend", backend)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(f"aiopcap: {mixed}: truncated")
    if target == "copy":
        assert tcpdump_count(copy) == len(MIXED) - 1
    else:
        assert len(run.stdout.splitlines()) == len(MIXED) - 1
        assert len(run.stderr.splitlines()) == 1


def bad_files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    yield tmp_path / "missing", "No such file or directory"
    yield tmp_path, "Is a directory"
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.touch()
    text.write_text("this is not a capture at all\n")
    yield empty, ""
    yield text, ""


def test_errors_are_one_line(mixed: Path, tmp_path: Path) -> None:
    for path, words in bad_files(tmp_path):
        run = aiopcap("read", path)
        assert (run.returncode, run.stdout) == (1, ""), path
        assert run.stderr.startswith(f"aiopcap: {path}: {words}"), path
        assert run.stderr.count("\n") == 1, path
    run = aiopcap("read", mixed, "-w", tmp_path / "nowhere" / "copy.pcap")
    assert run.returncode == 1
    assert run.stderr.endswith("nowhere/copy.pcap: No such file or directory\n")


def test_a_bad_filter_gets_libpcaps_words_and_makes_no_file(mixed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pcap"
    run = aiopcap("read", mixed, "-w", copy, "udp", "prt", "53")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "aiopcap: can't parse filter expression: syntax error\n"
    assert not copy.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk(mixed: Path) -> None:
    run = aiopcap("read", mixed, "-w", "/dev/full")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "aiopcap: /dev/full: No space left on device"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("arguments", [[], ["-w", "-"]], ids=["lines", "copy"])
def test_a_reader_that_has_enough_ends_it_without_a_word(
    large: Path, arguments: list[str], backend: str
) -> None:
    with started("read", large, *arguments, "--backend", backend) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(24)
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == b""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_ends_it_although_nobody_reads(large: Path, backend: str) -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb"),
        os.fdopen(writing, "wb"),
        started("read", large, "--backend", backend, stdout=writing) as process,
    ):
        until(lambda: not select.select([], [writing], [], 0)[1])
        process.terminate()
        assert process.wait(timeout=2) == 128 + signal.SIGTERM


def test_tcpdump_reads_the_copy_from_the_pipe(mixed: Path) -> None:
    with started("read", mixed, "-w", "-") as process:
        count = subprocess.run(
            ["tcpdump", "-r", "-", "--count"], stdin=process.stdout, capture_output=True, check=True
        )
        assert process.wait() == 0
    assert int(count.stdout.split()[0]) == len(MIXED)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".lz4"])
def test_compressed_files_are_read_and_written_by_their_suffix(
    mixed: Path, suffix: str, tmp_path: Path
) -> None:
    packed, again = tmp_path / f"packed.pcap{suffix}", tmp_path / "again.pcap"
    for source, target in ((mixed, packed), (packed, again)):
        run = aiopcap("read", source, "-w", target)
        assert run.returncode == 0, run.stderr
    assert packed.stat().st_size < mixed.stat().st_size
    assert read_pcap(again.read_bytes()).records == read_pcap(mixed.read_bytes()).records
