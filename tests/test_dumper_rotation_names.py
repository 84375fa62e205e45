"""What the files of a dumper that rotates are called, and when."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import Rotation
from tests.dumping import (
    flat,
    names,
    numbers_in,
    packets,
    send_all,
    written,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("trace.pcap", ["trace-00001.pcap", "trace-00002.pcap"]),
        ("trace.pcap.gz", ["trace-00001.pcap.gz", "trace-00002.pcap.gz"]),
        ("trace.v2.pcap.zst", ["trace.v2-00001.pcap.zst", "trace.v2-00002.pcap.zst"]),
        ("trace", ["trace-00001", "trace-00002"]),
        (".trace", [".trace-00001", ".trace-00002"]),
        ("{n}.pcap", ["1.pcap", "2.pcap"]),
        ("{n:03} of {n:2}.pcap", ["001 of 01.pcap", "002 of 02.pcap"]),
        ("100%%.pcap", ["100%-00001.pcap", "100%-00002.pcap"]),
        ("100%%-{n}.pcap", ["100%-1.pcap", "100%-2.pcap"]),
    ],
)
async def test_names_with_a_counter(pattern: str, expected: list[str], tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / pattern, linktype=1, rotate=Rotation(max_packets=1)
    ) as dumper:
        await send_all(dumper, packets(2))
    assert dumper.files == tuple(tmp_path / name for name in expected)
    assert names(tmp_path) == expected


def local_time(pattern: str) -> str:
    """The local time, as another program says it."""
    return subprocess.run(
        ["date", f"+{pattern}"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(params=["UTC", "Asia/Kathmandu"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live in a time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
async def test_names_with_the_local_time(tmp_path: Path) -> None:
    pattern = "t-%Y%m%d-%H%M"
    begun = ""
    while begun != local_time(pattern):  # again where a minute has just ended
        begun = local_time(pattern)
        folder = tmp_path / begun
        folder.mkdir()
        for name in f"{pattern}.pcap", f"{pattern}-{{n}}.pcap":
            async with await aiopcap.dump_open(
                folder / name, linktype=1, rotate=Rotation(max_packets=1)
            ) as dumper:
                await send_all(dumper, packets(3))
    # A time that comes again gets a number, in an order that a shell's * keeps.
    ends = [".pcap", "_00002.pcap", "_00003.pcap", "-1.pcap", "-2.pcap", "-3.pcap"]
    assert names(folder) == sorted(f"{begun}{end}" for end in ends)
    assert numbers_in(sorted(folder.glob(f"{begun}[._]*"))) == [[0], [1], [2]]


async def test_a_relative_path_is_one_from_where_the_dumper_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with await aiopcap.dump_open(
        "trace.pcap", linktype=1, rotate=Rotation(max_packets=1)
    ) as dumper:
        monkeypatch.chdir("elsewhere")
        await send_all(dumper, packets(3))
    assert numbers_in(dumper.files) == [[0], [1], [2]]
    assert names(tmp_path / "elsewhere") == []


async def test_no_file_that_is_there_is_touched(tmp_path: Path) -> None:
    (tmp_path / "trace-00001.pcap").write_bytes(b"precious")
    (tmp_path / "trace-00003.pcap").symlink_to("nowhere")
    (tmp_path / ".trace-00004.pcap.part").write_bytes(b"of one that was killed")
    (tmp_path / "trace-00006.pcap").mkdir()
    before = names(tmp_path)
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=1, keep=2)
    ) as dumper:
        await send_all(dumper, packets(4))
    assert [path.name for path in dumper.files] == ["trace-00007.pcap", "trace-00008.pcap"]
    assert numbers_in(dumper.files) == [[2], [3]]
    assert set(names(tmp_path)) == {*before, "trace-00007.pcap", "trace-00008.pcap"}
    assert (tmp_path / "trace-00001.pcap").read_bytes() == b"precious"
    assert (tmp_path / ".trace-00004.pcap.part").read_bytes() == b"of one that was killed"


@pytest.mark.parametrize(
    ("pattern", "taken", "others"),
    [
        ("trace.pcap", "trace-00001.pcap", ["trace-00002.pcap", "trace-00003.pcap"]),
        ("%C.pcap", "20.pcap", ["20_00002.pcap", "20_00003.pcap"]),
    ],
)
async def test_a_name_that_somebody_takes_meanwhile_is_left_to_them(
    pattern: str, taken: str, others: list[str], tmp_path: Path
) -> None:
    async with await aiopcap.dump_open(
        tmp_path / pattern, linktype=1, rotate=Rotation(max_packets=1)
    ) as dumper:
        (tmp_path / taken).write_bytes(b"precious")
        await send_all(dumper, packets(2))
    assert [path.name for path in dumper.files] == others
    assert numbers_in(dumper.files) == [[0], [1]]
    assert (tmp_path / taken).read_bytes() == b"precious"


async def test_dumpers_with_one_pattern_do_not_meet(tmp_path: Path) -> None:
    files: list[Path] = []

    async def dump(start: int) -> None:
        async with await aiopcap.dump_open(
            tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=7)
        ) as dumper:
            for packet in packets(100, start):
                await dumper.send(packet)
                await dumper.flush()
        assert flat(numbers_in(dumper.files)) == list(range(start, start + 100))
        files.extend(dumper.files)

    async with anyio.create_task_group() as tasks:
        for start in 0, 1000, 2000:
            tasks.start_soon(dump, start)
    assert len(set(files)) == len(files) == 45
    assert names(tmp_path) == sorted(path.name for path in files)


async def test_under_its_name_a_file_is_always_whole(tmp_path: Path) -> None:
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in set(tmp_path.glob("trace-*")):
                assert len(written(path.read_bytes())) == 50
                seen.add(path.name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, watch)
        try:
            async with await aiopcap.dump_open(
                tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=50)
            ) as dumper:
                for packet in packets(5000):
                    await dumper.send(packet)
                    await dumper.flush()
        finally:
            over.set()
    assert len(seen) > 10


@pytest.mark.parametrize("keep", [1, 3])
async def test_the_oldest_files_are_removed(keep: int, tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=2, keep=keep)
    ) as dumper:
        for packet in packets(21):
            await dumper.send(packet)
            await dumper.flush()
            assert len(names(tmp_path)) <= keep + 1
            assert len(dumper.files) <= keep
        if keep > 1:
            dumper.files[0].unlink()  # somebody was faster
    assert [path.name for path in dumper.files] == names(tmp_path)
    expected = [[18, 19], [20]] if keep > 1 else [[20]]
    assert numbers_in(dumper.files)[-2:] == expected


async def test_without_a_packet_there_is_one_empty_file(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=1)
    ) as dumper:
        assert names(tmp_path) == [".trace-00001.pcap.part"]
        await dumper.flush()
    assert dumper.files == (tmp_path / "trace-00001.pcap",)
    assert written(dumper.files[0].read_bytes()) == []


async def test_a_dumper_that_does_not_rotate_has_no_finished_files(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1) as dumper:
        await send_all(dumper, packets(3))
    assert dumper.files == ()
