"""`aiopcap info`: what it tells of files is what capinfos tells, and the system's sha256sum."""

import csv
import json
import os
import re
import signal
import struct
import subprocess
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.savefile_samples import SAMPLES, Sample
from tests.support import pcapngfiles as ng
from tests.support.compressors import FORMATS, pack
from tests.support.frames import numbered
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.witnesses import require_program, tshark_fields
from tests.support_cli import BACKENDS, aiopcap, is_drained, started, until

_TIME_NS = 1_700_000_000_000_000_000


def told(*files: Path | str, stdin: bytes = b"") -> list[dict[str, Any]]:
    run = aiopcap("info", "--json", *files, stdin=stdin)
    return [json.loads(line) for line in run.stdout.splitlines()]


def capinfos(*files: Path) -> list[dict[str, str]]:
    """Return what capinfos says of each file that it can read."""
    command = [require_program("capinfos"), "-T", "-M", "-m", "-Q", "-S", *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = csv.DictReader(run.stdout.splitlines())
    return [row for row in rows if (row["Number of packets"] or "").isdigit()]


def nanoseconds(text: str) -> int:
    seconds, fraction = text.split(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))


def check(found: dict[str, Any], row: dict[str, str]) -> None:
    assert found["packets"] == int(row["Number of packets"])
    assert found["file_bytes"] == int(row["File size (bytes)"])
    assert found["wire_bytes"] == int(row["Data size (bytes)"])
    assert found["sha256"] == row["SHA256"]
    # It says nothing of the time where one packet has none, and takes 0 for a time.
    if row["Start time"] in {"n/a", "0.000000"}:
        return
    assert found["first_ns"] == nanoseconds(row["Start time"])
    assert found["last_ns"] == nanoseconds(row["End time"])
    assert found["duration_ns"] == nanoseconds(row["Capture duration (seconds)"])
    if found["duration_ns"] > 1_000_000:  # it computes with floats
        packet_rate = float(row["Average packet rate (packets/sec)"])
        bit_rate = float(row["Data bit rate (bits/sec)"])
        assert found["packets_per_second"] == pytest.approx(packet_rate, rel=1e-4, abs=0.01)
        assert found["bits_per_second"] == pytest.approx(bit_rate, rel=1e-4, abs=0.01)
    if row["Strict time order"] != "Unknown":
        assert (found["out_of_order"] == 0) == (row["Strict time order"] == "True")


# In the other one, options of the wrong byte order are too much for capinfos.
_READABLE = [sample for sample in SAMPLES if sample.name != "pcapng big"]


@pytest.mark.parametrize("sample", _READABLE, ids=lambda sample: sample.name)
def test_capinfos_agrees_about_samples(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "sample"
    path.write_bytes(sample.content)
    [found], [row] = told(path), capinfos(path)
    check(found, row)
    assert found["format"] == ("pcapng" if "pcapng" in sample.name else "pcap")
    assert found["byte_order"] == ("big" if "big" in sample.name else "little")
    assert found["precision"] == ("nano" if "nano" in sample.name else "micro") or (
        found["format"] == "pcapng"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_capinfos_agrees_about_a_file_of_many_batches(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "many.pcap"
    packets = [
        Record(_TIME_NS + number * 1_000_003 - 7_000_000 * (number % 977 == 0), data[:40], 60)
        for number, data in enumerate(numbered(30_000))
    ]
    path.write_bytes(pcap_bytes(packets, precision="nano", snaplen=40))
    run = aiopcap("info", "--json", path, "--backend", backend)
    assert (run.returncode, run.stderr) == (0, "")
    found = json.loads(run.stdout)
    check(found, capinfos(path)[0])
    times = [packet.timestamp_ns for packet in packets]
    assert found["out_of_order"] == sum(a > b for a, b in pairwise(times))
    assert found["captured_bytes"] == sum(len(packet.data) for packet in packets)
    assert (found["snaplen"], found["cut_packets"]) == (40, len(packets))
    assert (found["precision"], found["linktypes"]) == ("nano", ["EN10MB"])


# Times after 2106 that capinfos takes for others.
_ODD = {"olsr-oobr-2.pcap", "timestamp_invalid_nano.pcap"}


def test_capinfos_agrees_about_the_corpus(corpus: Path) -> None:
    suffixes = {".cap", ".pcap", ".pcapng"}
    files = sorted(path for path in corpus.rglob("*") if path.suffix in suffixes)
    found = {each["file"]: each for each in told(*files)}
    assert list(found) == [str(path) for path in files]
    compared = 0
    for row in capinfos(*files):
        name = row["File name"]
        if found[name]["error"] is None and Path(name).name not in _ODD:
            check(found[name], row)
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("program", FORMATS)
@pytest.mark.parametrize("source", ["path", "-"])
def test_a_compressed_file(tmp_path: Path, program: str, source: str) -> None:
    path = tmp_path / "packed"
    content = pcap_bytes(records(numbered(5000)))
    path.write_bytes(pack(program, content))
    arguments = [path] if source == "path" else ["-"]
    [found] = told(*arguments, stdin=path.read_bytes())
    assert (found["compression"], found["packets"]) == (program, 5000)
    digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
    assert (found["sha256"], found["file_bytes"]) == (digest, path.stat().st_size)
    assert f"\n  compression  {program}\n" in aiopcap("info", path).stdout


def statistics(interface_id: int, *counts: tuple[int, int]) -> bytes:
    options = b"".join(ng.option(code, struct.pack("<Q", value)) for code, value in counts)
    return ng.block(5, struct.pack("<III", interface_id, 0, 0) + options + ng.option(0, b""))


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """Two sections, three interfaces of two link types, comments and what was dropped."""
    path = tmp_path / "described.pcapng"
    header = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    header += ng.option(1, b"a comment\n\x1b[2Jin two lines") + ng.option(4, b"by hand")
    time = _TIME_NS // 1000
    path.write_bytes(
        ng.block(0x0A0D0D0A, header)
        + ng.interface(name="eth0", description="the one to the left")
        + ng.interface(name="tun0", linktype=101, snaplen=0)
        + b"".join(ng.enhanced_packet(data, time) for data in numbered(5))
        + b"".join(ng.enhanced_packet(b"E" * 20, time, interface_id=1) for _ in range(3))
        + statistics(0, (4, 1000), (5, 3), (7, 11))
        + statistics(1, (7, 2))
        + ng.section()
        + ng.interface(name="eth0")
        + b"".join(ng.enhanced_packet(data, time + 1) for data in numbered(2))
        + ng.simple_packet(b"x" * 60)
        + ng.block(0x0BAD, b"what is this")
    )
    return path


def test_interfaces_have_their_packets_and_drops(described: Path) -> None:
    [found] = told(described)
    keys = ("name", "linktype", "snaplen", "packets", "received", "dropped", "if_dropped")
    assert [tuple(each[key] for key in keys) for each in found["interfaces"]] == [
        ("eth0", "EN10MB", 262144, 8, 1000, 11, 3),
        ("tun0", "RAW", 0, 3, None, 2, None),
    ]
    assert (found["dropped"], found["if_dropped"]) == (13, 3)
    assert found["linktypes"] == ["EN10MB", "RAW"]
    assert (found["untimed_packets"], found["skipped_blocks"]) == (1, 1)
    assert [section["application"] for section in found["sections"]] == ["by hand", None]
    assert found["sections"][0]["comments"] == ["a comment\n\x1b[2Jin two lines"]

    names = Counter(tshark_fields(described, "frame.interface_name"))
    del names["",]  # the block of another kind, which it shows like a packet
    assert names == {(each["name"],): each["packets"] for each in found["interfaces"]}


def test_people_get_lines(described: Path) -> None:
    run = aiopcap("info", described)
    assert (run.returncode, run.stderr) == (0, "")
    digest = subprocess.check_output(["sha256sum", described], text=True).split()[0]
    lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in run.stdout.splitlines()]
    assert lines == [
        [str(described)],
        ["format", "pcapng 1.0, little-endian, microseconds"],
        ["file", f"{described.stat().st_size} bytes (1.2 KiB)"],
        ["sha256", digest],
        ["link type", "EN10MB, RAW"],
        ["snaplen", "262144"],
        ["packets", "11"],
        ["1 without a time"],
        ["1 block of other kinds"],
        ["captured", "540 bytes"],
        ["on the wire", "540 bytes"],
        ["first", "2023-11-14T22:13:20.000000000Z"],
        ["last", "2023-11-14T22:13:20.000001000Z"],
        ["duration", "0.000001000 s"],
        ["rate", "1.1e+07 packets/s, 4320 Mbit/s"],
        ["dropped", "13 by the system, 3 by the interface"],
        ["written by", "by hand"],
        ["comment", "a comment  [2Jin two lines"],
        ["interface", "eth0, EN10MB, 8 packets, snaplen 262144, the one to the left"],
        ["11 by the system, 3 by the interface"],
        ["interface", "tun0, RAW, 3 packets, no snaplen"],
        ["2 by the system"],
    ]


def test_a_file_without_packets(tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(pcap_bytes([]))
    [found] = told(path)
    assert (found["packets"], found["linktypes"]) == (0, ["EN10MB"])
    for key in ("first_ns", "last_ns", "duration_ns", "packets_per_second", "error"):
        assert found[key] is None
    assert aiopcap("info", path).returncode == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_standard_input(described: Path, backend: str) -> None:
    run = aiopcap("info", "--json", "-", "--backend", backend, stdin=described.read_bytes())
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == {**told(described)[0], "file": "-"}


def test_standard_input_is_there_once(described: Path) -> None:
    run = aiopcap("info", "-", described, "-")
    assert (run.returncode, run.stdout) == (2, "")
    assert "only once" in run.stderr


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["path", "-"])
def test_a_damaged_file_tells_what_was_read(tmp_path: Path, source: str, backend: str) -> None:
    path = tmp_path / "damaged.pcap"
    sound = pcap_bytes(records(numbered(3)))
    # A record that is larger than any, and much behind it.
    path.write_bytes(sound + b"\xff" * 16 + os.urandom(3_000_000))
    run = aiopcap(
        "info",
        "--json",
        path if source == "path" else "-",
        "--backend",
        backend,
        stdin=path.read_bytes(),
    )
    found = json.loads(run.stdout)
    assert run.returncode == 1
    assert run.stderr == f"aiopcap: {found['error']}\n"
    assert found["error"].startswith(str(path) if source == "path" else "standard input: ")
    assert found["packets"] == 3
    digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
    assert (found["sha256"], found["file_bytes"]) == (digest, path.stat().st_size)


def test_bad_files_do_not_hide_the_good_ones(described: Path, tmp_path: Path) -> None:
    text, missing, good = tmp_path / "text", tmp_path / "missing", tmp_path / "good.pcap"
    text.write_text("this is not a capture at all\n")
    good.write_bytes(pcap_bytes(records(numbered(4))))
    run = aiopcap("info", text, described, missing, tmp_path, good)
    assert run.returncode == 1
    names = [line for line in run.stdout.splitlines() if not line.startswith(" ")]
    assert names == [str(described), str(good)]
    errors = run.stderr.splitlines()
    assert [error.split(": ")[1] for error in errors] == [str(text), str(missing), str(tmp_path)]
    assert errors[1].endswith("No such file or directory")
    assert errors[2].endswith("Is a directory")

    found = told(text, missing, good)
    assert [each.get("packets") for each in found] == [None, None, 4]
    assert "sha256" in found[0]
    assert found[1] == {"file": str(missing), "error": errors[1].removeprefix("aiopcap: ")}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("begun", [False, True], ids=["before the header", "after a packet"])
def test_a_signal_ends_it_although_the_pipe_goes_on(
    tmp_path: Path, begun: bool, backend: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with started("info", fifo, "--backend", backend) as process:
        with fifo.open("wb", buffering=0) as writer:
            if begun:
                writer.write(pcap_bytes(records(numbered(1))))
                until(partial(is_drained, fifo))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 128 + signal.SIGINT
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


def test_a_reader_that_has_enough_ends_it_without_a_word(described: Path) -> None:
    with started("info", *[described] * 500) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(24)
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == b""
