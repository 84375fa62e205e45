"""The examples run as they stand."""

import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.frames import numbered, udp_frame
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.veth import Veth
from tests.support.witnesses import tcpdump_records

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@contextmanager
def example(name: str, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def errors(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    return process.stderr.read()


def test_each_example_is_tested() -> None:
    here = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}"' in here, path.name


def test_capture_loop(veth: Veth) -> None:
    with example("capture_loop", veth.near, "udp", "port", "53") as process:
        assert line(process) == f"capturing on {veth.near}\n"
        veth.send([*numbered(3), udp_frame(destination_port=53, size=99)])
        assert " 99 bytes " in line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert errors(process) == ""


def test_filter_and_dump(veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / "dns.pcap"
    wanted = [udp_frame(b"%d" % n, destination_port=53) for n in range(5)]
    with example("filter_and_dump", veth.near, path, "1", "udp port 53") as process:
        assert line(process) == f"capturing on {veth.near}\n"
        veth.send([*numbered(3), *wanted])
        assert line(process) == "5 packets written, 5 received, 0 dropped\n"
        assert process.wait() == 0
        assert errors(process) == ""
    assert [record.data for record in tcpdump_records(path)] == wanted


def test_batches_numpy(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    path = tmp_path / "sizes.pcap"
    frames = [*numbered(10, 60), *numbered(5, 100), *numbered(1, 1514)]
    path.write_bytes(pcap_bytes(records(frames)))
    with example("batches_numpy", path) as process:
        assert process.wait() == 0
        assert errors(process) == ""
        assert process.stdout is not None
        output = process.stdout.read()
    counts = [int(row.rpartition(" ")[2]) for row in output.splitlines()[:-1]]
    assert counts == [10, 5, 0, 0, 0, 1, 0]
    assert "16 packets, 2614 bytes in 0.015000 s, 1067 packets/s" in output


def test_open_then_drop(veth: Veth) -> None:
    with example("open_then_drop", veth.near) as process:
        nobody = pwd.getpwnam("nobody").pw_uid
        assert line(process) == f"capturing on {veth.near} as user {nobody}\n"
        veth.send(numbered(3, 100))
        for _ in range(3):
            assert " 100 bytes" in line(process)
        assert line(process).startswith("CaptureStatistics(received=3, dropped=0")
        assert process.wait() == 0
        assert errors(process) == ""
