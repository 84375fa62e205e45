"""The examples run as they stand."""

import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.frames import frame, numbered, udp_frame
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.veth import Veth
from tests.support.witnesses import tcpdump_records
from tests.support_queues import watched

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@contextmanager
def example(
    name: str, *arguments: str | Path, warnings: str = "error"
) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", warnings, EXAMPLES / f"{name}.py", *arguments]
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


def test_send_frames(veth: Veth) -> None:
    with watched(veth) as far, example("send_frames", veth.near) as process:
        assert process.wait() == 0
        assert errors(process) == ""
        assert line(process) == "1 frame\n"
        assert line(process) == "999 frames\n"
        said = re.fullmatch(r"100 frames in (\d+\.\d\d) s\n", line(process))
        assert said is not None
        arrivals = far.take(1100)
        assert far.count == 1100
    assert [int.from_bytes(data[14:18], "big") for _, data in arrivals] == list(range(1100))
    # 99 gaps of 5 ms; the first frame may be late on its way.
    assert float(said[1]) >= 0.49
    assert (arrivals[-1].time_ns - arrivals[1000].time_ns) / 1e9 > 0.2


def saved(tmp_path: Path, packets: list[Record], linktype: int = 1) -> Path:
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap_bytes(packets, linktype=linktype))
    return path


@pytest.mark.parametrize(("words", "seconds"), [([], 0.0), (["s"], 0.2)], ids=["fast", "sync"])
def test_sendcap(veth: Veth, tmp_path: Path, words: list[str], seconds: float) -> None:
    frames = numbered(3)
    path = saved(tmp_path, records(frames, step_ns=100_000_000))
    with watched(veth) as far, example("sendcap", path, veth.near, *words) as process:
        assert process.wait() == 0
        assert errors(process) == ""
        assert line(process).startswith("3 packets, ")
        arrivals = far.take(3)
    assert [arrival.data for arrival in arrivals] == frames
    assert (arrivals[-1].time_ns - arrivals[0].time_ns) / 1e9 >= seconds / 2


def test_sendcap_warns_of_another_link_type(veth: Veth, tmp_path: Path) -> None:
    path = saved(tmp_path, records(numbered(3)), linktype=101)
    with (
        watched(veth) as far,
        example("sendcap", path, veth.near, warnings="always") as process,
    ):
        assert process.wait() == 0
        assert "PcapWarning" in errors(process)
        assert far.datas(3) == numbered(3)


def test_sendcap_warns_of_what_was_not_sent(veth: Veth, tmp_path: Path) -> None:
    path = saved(tmp_path, records([*numbered(3), frame(size=1600), *numbered(3)]))
    with (
        watched(veth) as far,
        example("sendcap", path, veth.near, warnings="always") as process,
    ):
        assert process.wait() == 0
        warned = errors(process)
        assert "packet 3: " in warned
        assert f"only {3 * (16 + 60)} bytes were sent" in warned
        assert far.datas(3) == numbered(3)
        assert far.count == 3


def test_sendcap_warns_of_a_queue_that_is_too_small(veth: Veth, tmp_path: Path) -> None:
    path = saved(tmp_path, records(numbered(3)))
    program = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
import anyio, sendcap
sendcap.QUEUE_BYTES = {2 * (16 + 60)}
anyio.run(lambda: sendcap.main({str(path)!r}, {veth.near!r}, sync=False))
"""
    with watched(veth) as far:
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert far.datas(2) == numbered(2)
        assert far.count == 2
    assert "not all packets will be sent: the send queue has room for 0 of 152 bytes" in run.stderr
