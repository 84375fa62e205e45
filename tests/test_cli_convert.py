"""`aiopcap convert`: what comes out, as tcpdump, tshark, mergecap and editcap have it."""

import json
import os
import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.support import pcapngfiles as ng
from tests.support.compressors import FORMATS, SUFFIXES, pack, unpack
from tests.support.frames import numbered, udp_frame
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.witnesses import (
    require_program,
    tcpdump_count,
    tcpdump_records,
    tshark_fields,
)
from tests.support_cli import BACKENDS, Terminal, aiopcap, is_drained, started, until

FRAMES = [
    *(udp_frame(b"x" * n, source_port=1000 + n, destination_port=53 + n % 2) for n in range(40)),
    *numbered(20),
]
_TIME_NS = 1_700_000_000_000_000_000


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    path = tmp_path / "nano.pcap"
    path.write_bytes(pcap_bytes(records(FRAMES, step_ns=1_000_000_001), precision="nano"))
    return path


@pytest.fixture
def micro(tmp_path: Path) -> Path:
    """Packets between those of the other file, and after them."""
    path = tmp_path / "micro.pcap"
    packets = [
        Record(record.timestamp_ns + 500_000_000, record.data)
        for record in records(numbered(90), step_ns=700_000_000)
    ]
    path.write_bytes(pcap_bytes(packets, snaplen=1000))
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two interfaces of different link types, what they counted, and a comment."""
    path = tmp_path / "mixed.pcapng"
    header = ng.block(
        0x0A0D0D0A,
        bytes.fromhex("4d3c2b1a 0100 0000 ffffffffffffffff") + ng.option(1, b"on the whole"),
    )
    statistics = bytes(12) + ng.option(4, (77).to_bytes(8, "little")) + ng.option(0, b"")
    path.write_bytes(
        header
        + ng.interface(name="eth0", description="to the left", tsresol=9)
        + ng.interface(name="tun0", linktype=101, tsresol=9)
        + b"".join(
            ng.enhanced_packet(data, _TIME_NS + number) for number, data in enumerate(numbered(5))
        )
        + ng.enhanced_packet(b"E" * 20, _TIME_NS + 5, interface_id=1)
        + ng.block(5, statistics)
    )
    return path


def output(*command: str | Path) -> str:
    path = require_program(str(command[0]))
    return subprocess.run([path, *command[1:]], capture_output=True, text=True, check=True).stdout


def seen(path: Path) -> list[tuple[str, ...]]:
    """Return time, length and bytes of each packet, as tshark sees them."""
    return tshark_fields(path, "frame.time_epoch", "frame.len", "eth.dst", "data.data")


def times(paths: list[Path]) -> list[list[int]]:
    return [[record.timestamp_ns for record in tcpdump_records(path)] for path in paths]


# -- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_to_pcapng_and_back(nano: Path, tmp_path: Path, backend: str) -> None:
    there, back = tmp_path / "there.pcapng", tmp_path / "back.pcap"
    for source, target in ((nano, there), (there, back)):
        run = aiopcap("convert", source, target, "--backend", backend)
        assert (run.returncode, run.stdout) == (0, "")
        assert run.stderr == f"aiopcap: {len(FRAMES)} packets written to {target}\n"
    assert "pcapng" in output("capinfos", "-t", there)
    assert tcpdump_records(there) == tcpdump_records(nano)
    assert back.read_bytes() == nano.read_bytes()


def test_the_format_can_be_told(nano: Path, tmp_path: Path) -> None:
    for name, format in (("a.pcap", "pcapng"), ("b.pcapng", "pcap"), ("c", "pcapng")):
        assert aiopcap("convert", nano, tmp_path / name, "--format", format).returncode == 0
        assert output("capinfos", "-T", "-r", "-t", tmp_path / name).split()[-1].endswith(format)


def test_the_precision_stays_unless_told_otherwise(micro: Path, tmp_path: Path) -> None:
    same, finer = tmp_path / "same.pcap", tmp_path / "finer.pcap"
    aiopcap("convert", micro, same)
    aiopcap("convert", micro, finer, "--precision", "nano")
    assert same.read_bytes() == micro.read_bytes()
    assert read_pcap(finer.read_bytes()).precision == "nano"
    assert tcpdump_records(finer) == tcpdump_records(micro)


def test_filter_and_limit(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "some.pcap"
    run = aiopcap("convert", nano, target, "-f", "udp port 53", "--limit", "7")
    assert (run.returncode, run.stderr) == (0, f"aiopcap: 7 packets written to {target}\n")
    assert tcpdump_records(target) == tcpdump_records(nano, "udp port 53")[:7]


def test_pcapng_keeps_what_is_said_of_interfaces(mixed: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.pcapng"
    assert aiopcap("convert", mixed, target).returncode == 0
    interfaces = Counter(tshark_fields(target, "frame.interface_name", "frame.encap_type"))
    assert interfaces == {("eth0", "1"): 5, ("tun0", "7"): 1}
    assert "on the whole" in output("capinfos", "-k", target)
    [eth0, _] = json.loads(aiopcap("info", "--json", target).stdout)["interfaces"]
    assert (eth0["description"], eth0["received"]) == ("to the left", 77)


def test_a_target_that_is_there_is_overwritten(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.pcap"
    target.write_bytes(os.urandom(100_000))
    assert aiopcap("convert", nano, target).returncode == 0
    assert target.read_bytes() == nano.read_bytes()


@pytest.mark.parametrize("program", FORMATS)
def test_compressed_by_name(nano: Path, tmp_path: Path, program: str) -> None:
    there, back = tmp_path / f"there.pcap{SUFFIXES[program]}", tmp_path / "back.pcap"
    assert aiopcap("convert", nano, there).returncode == 0
    assert unpack(program, there.read_bytes()) == (nano.read_bytes(), True)
    packed = tmp_path / "packed"
    packed.write_bytes(pack(program, nano.read_bytes()))
    assert aiopcap("convert", packed, back).returncode == 0
    assert back.read_bytes() == nano.read_bytes()


def test_the_compression_can_be_told(nano: Path, tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pcapng.gz", tmp_path / "packed"
    assert aiopcap("convert", nano, plain, "--compression", "none").returncode == 0
    assert aiopcap("convert", nano, packed, "--compression", "gzip").returncode == 0
    assert "pcapng" in output("capinfos", "-t", plain)
    assert tcpdump_records(plain) == tcpdump_records(nano)
    assert unpack("gzip", packed.read_bytes()) == (nano.read_bytes(), True)


def test_compressed_parts(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.pcap.gz"
    assert aiopcap("convert", nano, target, "--split-packets", "25").returncode == 0
    parts = sorted(tmp_path.glob("part-*.pcap.gz"))
    contents = [unpack("gzip", path.read_bytes()) for path in parts]
    assert all(whole for _, whole in contents)
    counts = [len(read_pcap(content).records) for content, _ in contents]
    assert counts == [25, 25, len(FRAMES) - 50]


# -- several link types --------------------------------------------------------------------------


def test_pcap_has_one_link_type_and_says_so_before_it_writes(nano: Path, tmp_path: Path) -> None:
    raw, target = tmp_path / "raw.pcap", tmp_path / "target.pcap"
    raw.write_bytes(pcap_bytes(records([b"E" * 20]), linktype=101))
    target.write_bytes(b"precious")
    run = aiopcap("convert", nano, raw, target)
    assert run.returncode == 1
    assert run.stderr.startswith(f"aiopcap: {target}: a pcap file has packets of one link type")
    assert "EN10MB and RAW: write pcapng" in run.stderr
    assert target.read_bytes() == b"precious"
    assert aiopcap("convert", nano, raw, tmp_path / "both.pcapng").returncode == 0
    assert len(tshark_fields(tmp_path / "both.pcapng", "frame.len")) == len(FRAMES) + 1


def test_another_link_type_on_the_way(mixed: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.pcap"
    run = aiopcap("convert", mixed, target)
    assert run.returncode == 1
    said, error = run.stderr.splitlines()
    assert said == f"aiopcap: 5 packets written to {target}"
    assert error.startswith(f"aiopcap: {target}: a pcap file has packets of one link type only")
    assert tcpdump_count(target) == 5


# -- several files -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_several_files_are_merged_as_by_mergecap(
    nano: Path, micro: Path, tmp_path: Path, suffix: str, backend: str
) -> None:
    ours, theirs = tmp_path / f"ours.{suffix}", tmp_path / "theirs.pcapng"
    run = aiopcap("convert", nano, micro, ours, "--backend", backend)
    assert run.stderr == f"aiopcap: {len(FRAMES) + 90} packets written to {ours}\n"
    output("mergecap", "-w", theirs, nano, micro)
    assert seen(ours) == seen(theirs)
    if suffix == "pcapng":
        names = Counter(tshark_fields(ours, "frame.interface_name"))
        assert names == {(str(nano),): len(FRAMES), (str(micro),): 90}


def test_one_of_several_is_standard_input(nano: Path, micro: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pcap", tmp_path / "theirs.pcapng"
    run = aiopcap("convert", nano, "-", ours, stdin=micro.read_bytes())
    assert run.returncode == 0
    output("mergecap", "-w", theirs, nano, micro)
    assert seen(ours) == seen(theirs)


# -- splitting -----------------------------------------------------------------------------------


def split_by_editcap(source: Path, folder: Path, *options: str) -> list[list[int]]:
    folder.mkdir()
    output("editcap", "-F", "nsecpcap", *options, source, folder / "part.pcap")
    # It also makes files for times without a packet.
    return [each for each in times(sorted(folder.iterdir())) if each]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["--split-packets", "13"], ["-c", "13"]),
        (["--split-seconds", "7.5"], ["-i", "7.5"]),
        (["--split-seconds", "0.25"], ["-i", "0.25"]),
    ],
)
def test_splits_as_editcap_does(
    nano: Path, tmp_path: Path, ours: list[str], theirs: list[str], backend: str
) -> None:
    run = aiopcap("convert", nano, tmp_path / "part.pcap", *ours, "--backend", backend)
    parts = sorted(tmp_path.glob("part-*.pcap"))
    assert times(parts) == split_by_editcap(nano, tmp_path / "editcap", *theirs)
    assert run.returncode == 0
    assert run.stderr == (
        f"aiopcap: {len(FRAMES)} packets written; {len(parts)} files: {parts[0]} to {parts[-1]}\n"
    )


def test_split_seconds_leave_gaps_out_and_keep_late_packets(tmp_path: Path) -> None:
    source = tmp_path / "gaps.pcap"
    seconds = [0, 4, 5, 9, 3, 47, 46, 50]
    source.write_bytes(
        pcap_bytes([Record(_TIME_NS + second * 10**9 + 1, b"x" * 20) for second in seconds])
    )
    assert aiopcap("convert", source, tmp_path / "p.pcap", "--split-seconds", "5").returncode == 0
    parts = times(sorted(tmp_path.glob("p-*.pcap")))
    assert [[(time - _TIME_NS) // 10**9 for time in part] for part in parts] == [
        [0, 4],
        [5, 9, 3],
        [47, 46],
        [50],
    ]


def test_split_bytes_and_keep(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "{n}.pcap"
    run = aiopcap("convert", nano, target, "--split-bytes", "1000", "--keep", "2")
    parts = sorted(tmp_path.glob("[0-9]*.pcap"), key=lambda path: int(path.stem))
    assert len(parts) == 2
    assert int(parts[0].stem) > 1
    assert all(500 < path.stat().st_size <= 1000 for path in parts[:-1])
    last = [time for part in times(parts) for time in part]
    assert last == times([nano])[0][-len(last) :]
    assert run.stderr.endswith(f"written; 2 files: {parts[0]} to {parts[1]}\n")


def test_parts_may_be_called_after_their_source(nano: Path) -> None:
    before = nano.read_bytes()
    assert aiopcap("convert", nano, nano, "--split-packets", "50").returncode == 0
    assert nano.read_bytes() == before
    assert sorted(path.name for path in nano.parent.iterdir()) == [
        "nano-00001.pcap",
        "nano-00002.pcap",
        "nano.pcap",
    ]


# -- appending -----------------------------------------------------------------------------------


def test_append_goes_on_with_what_is_there(nano: Path, micro: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pcap", tmp_path / "theirs.pcapng"
    for source in (micro, nano):
        run = aiopcap("convert", source, ours, "--append")
        assert (run.returncode, run.stdout) == (0, "")
    output("mergecap", "-a", "-F", "pcap", "-w", theirs, micro, nano)
    assert seen(ours) == seen(theirs)
    whole = read_pcap(ours.read_bytes())
    assert (whole.precision, whole.snaplen) == ("micro", 1000)


def test_append_to_something_else_changes_nothing(nano: Path, tmp_path: Path) -> None:
    raw, text = tmp_path / "raw.pcap", tmp_path / "text"
    raw.write_bytes(pcap_bytes(records([b"E" * 20]), linktype=101, precision="nano"))
    text.write_text("this is not a capture at all\n")
    for target in (raw, text):
        before = target.read_bytes()
        run = aiopcap("convert", nano, target, "--append")
        assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
        assert str(target) in run.stderr
        assert target.read_bytes() == before


# -- what is refused -----------------------------------------------------------------------------


def test_no_source_is_the_target(nano: Path, micro: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pcap"
    link.symlink_to(micro)
    before = micro.read_bytes()
    for arguments in ([micro, micro], [nano, micro, link], [micro, link, "--append"]):
        run = aiopcap("convert", *arguments)
        assert run.returncode == 1
        assert run.stderr.endswith("cannot be copied to itself\n")
    assert micro.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-", "-", "out.pcap"], "only once"),
        (["in.pcap", "out.pcap", "--keep", "3"], "--keep is of use with"),
        (["in.pcap", "out.pcap", "--append", "--split-packets", "3"], "--append is no place"),
        (["in.pcap", "-", "--split-bytes", "3M"], "standard output is no place"),
        (["out.pcap"], "Missing argument"),
    ],
)
def test_arguments_that_do_not_go_together(arguments: list[str], words: str) -> None:
    run = aiopcap("convert", *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert words in " ".join(run.stderr.split())


def test_no_savefile_goes_to_a_terminal(nano: Path) -> None:
    with Terminal() as terminal, started("convert", nano, "-", stdout=terminal.end) as process:
        assert process.stderr is not None
        assert b"not for a terminal" in process.stderr.read()
        assert process.wait() == 2


def test_a_bad_filter_makes_no_file(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.pcap"
    run = aiopcap("convert", nano, target, "-f", "prt 53")
    assert run.stderr == "aiopcap: can't parse filter expression: syntax error\n"
    assert (run.returncode, target.exists()) == (1, False)


# -- pipes, and ends before the end --------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_from_pipe_to_pipe(nano: Path, backend: str) -> None:
    with started("convert", nano, "-", "--backend", backend) as process:
        count = subprocess.run(
            ["tcpdump", "-r", "-", "--count"], stdin=process.stdout, capture_output=True, check=True
        )
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait() == 0
    assert int(count.stdout.split()[0]) == len(FRAMES)
    assert said == f"aiopcap: {len(FRAMES)} packets written to standard output\n"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("split", [False, True])
def test_a_cut_file_gives_its_packets_and_then_the_error(
    nano: Path, tmp_path: Path, split: bool, backend: str
) -> None:
    nano.write_bytes(nano.read_bytes()[:-1])
    options = ["--split-packets", "20"] if split else []
    run = aiopcap("convert", nano, tmp_path / "t.pcap", *options, "--backend", backend)
    said, error = run.stderr.splitlines()
    assert run.returncode == 1
    assert said.startswith(f"aiopcap: {len(FRAMES) - 1} packets written")
    assert error.startswith(f"aiopcap: {nano}: truncated")
    parts = sorted(tmp_path.glob("t*.pcap"))
    assert len(parts) == (3 if split else 1)
    assert sum(map(tcpdump_count, parts)) == len(FRAMES) - 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_completes_the_file_and_says_so(tmp_path: Path, backend: str) -> None:
    fifo, target = tmp_path / "fifo", tmp_path / "target.pcap"
    os.mkfifo(fifo)
    with started("convert", fifo, target, "--backend", backend) as process:
        with fifo.open("wb", buffering=0) as writer:
            content = pcap_bytes(records(FRAMES))
            writer.write(content[:24])
            until(target.exists)
            writer.write(content[24:])
            until(partial(is_drained, fifo))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 128 + signal.SIGINT
        assert process.stderr is not None
        said = process.stderr.read().decode()
    packets = tcpdump_count(target)
    assert said == f"aiopcap: {packets} packets written to {target}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk(nano: Path) -> None:
    run = aiopcap("convert", nano, "/dev/full")
    assert (run.returncode, run.stderr) == (1, "aiopcap: /dev/full: No space left on device\n")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_that_has_enough_ends_it_without_a_word(tmp_path: Path, backend: str) -> None:
    large = tmp_path / "large.pcap"
    large.write_bytes(pcap_bytes(records(numbered(20_000))))
    with started("convert", large, "-", "--backend", backend) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(24)
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == b""


def test_progress_on_a_terminal(nano: Path, micro: Path, tmp_path: Path) -> None:
    with (
        Terminal() as terminal,
        started("convert", nano, micro, tmp_path / "t.pcap", stderr=terminal.end) as process,
    ):
        terminal.read_until(f"{len(FRAMES) + 90} packets written")
        assert process.wait() == 0
        assert " packets/s" in terminal.shown
        assert " %" in terminal.shown
