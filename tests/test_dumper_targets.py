"""What a dumper writes to, and how it flushes and counts."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import LinkType
from tests.dumping import PACKETS, dumped
from tests.reading import read_all
from tests.support.libpcap import libpcap_read
from tests.support.oracle import read_pcap
from tests.support.programs import run_python
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("sync", [False, True])
async def test_flushed_bytes_are_in_the_file(sync: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        assert dumper.tell() == 24
        for number, packet in enumerate(PACKETS):
            await dumper.send(packet)
            if number % 2:
                await dumper.flush(sync=sync)
                assert path.stat().st_size == dumper.tell()
                assert len(libpcap_read(path).packets) == number + 1
    assert path.stat().st_size == dumper.tell()


async def test_tell_counts_what_is_not_yet_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=1) as dumper:
        expected = 24
        for packet in PACKETS * 10_000:
            await dumper.send(packet)
            expected += 16 + len(packet)
            assert dumper.tell() == expected
    assert path.stat().st_size == expected


async def test_what_a_dumper_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    async with await aiopcap.dump_open(path, linktype=12, snaplen=99, precision="micro") as dumper:
        assert dumper.linktype is LinkType.RAW
        assert (dumper.snaplen, dumper.precision) == (99, "micro")
        assert "file.pcap" in repr(dumper)
    assert "closed" in repr(dumper)


@pytest.mark.parametrize("kind", [str, Path, anyio.Path])
async def test_a_path_is_created_or_emptied(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(bytes(100_000))
    for _ in range(2):
        async with await aiopcap.dump_open(kind(path), linktype=1) as dumper:
            await dumper.send(PACKETS[0])
        assert (await read_all(path)).packets == PACKETS[:1]
        path.unlink()


async def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1):
            assert (tmp_path / "file.pcap").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


async def test_a_descriptor_stays_open_and_is_written_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"before ")
        file.flush()
        async with await aiopcap.dump_open(file.fileno(), linktype=1) as dumper:
            await dumper.send(PACKETS[0])
        file.write(b" after")
    content = path.read_bytes()
    assert content.startswith(b"before ")
    assert content.endswith(b" after")
    assert len(read_pcap(content[7:-6]).records) == 1


@pytest.mark.parametrize("buffering", [0, -1])
async def test_a_file_object_stays_open(buffering: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=buffering) as file:
        async with await aiopcap.dump_open(file, linktype=1) as dumper:
            await dumper.send(PACKETS[0])
            await dumper.flush(sync=True)
            assert path.stat().st_size == dumper.tell()
            await dumper.send(PACKETS[1])
        assert not file.closed
        assert path.stat().st_size == dumper.tell()
    assert (await read_all(path)).packets == PACKETS[:2]


class Simple:
    """The least that can be written to; takes a few bytes a time, or says nothing."""

    def __init__(self, most: int | None) -> None:
        self.content = bytearray()
        self._most = most

    def write(self, data: memoryview) -> int | None:
        self.content += data[: self._most]
        return None if self._most is None else len(data[: self._most])


@pytest.mark.parametrize("most", [None, 1, 7, 10_000])
async def test_an_object_that_can_only_write(most: int | None) -> None:
    target = Simple(most)
    async with await aiopcap.dump_open(target, linktype=1) as dumper:
        for packet in PACKETS:
            await dumper.send(packet)
        await dumper.flush(sync=True)
    assert bytes(target.content) == await dumped(PACKETS)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_standard_output(backend: str) -> None:
    printed = run_python(
        f"""
        import os
        import anyio, aiopcap

        async def main():
            async with await aiopcap.dump_open("-", linktype=1) as dumper:
                await dumper.send(aiopcap.Packet(b"data"))
            os.write(1, b"still open")

        anyio.run(main, backend={backend!r})
        """
    )
    assert printed.endswith(b"still open")
    assert [record.data for record in read_pcap(printed[:-10]).records] == [b"data"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", IsADirectoryError),
        ("missing/file.pcap", FileNotFoundError),
        ("x" * 300, OSError),
    ],
)
async def test_a_path_that_cannot_be_written(
    name: str, error: type[OSError], tmp_path: Path
) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        await aiopcap.dump_open(tmp_path / name, linktype=1)
    assert str(tmp_path) in str(caught.value)
    assert open_descriptors() == before


@pytest.mark.parametrize("target", [None, 1.5, [1], Ellipsis], ids=repr)
async def test_what_is_no_target(target: Any) -> None:
    with pytest.raises(TypeError, match="written to a path"):
        await aiopcap.dump_open(target, linktype=1)


async def test_text_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="text mode"):
        await aiopcap.dump_open(io.StringIO(), linktype=1)
    with (tmp_path / "text").open("w") as file, pytest.raises(TypeError, match="text mode"):
        await aiopcap.dump_open(file, linktype=1)


async def test_descriptors_of_dumpers_are_not_inherited(tmp_path: Path) -> None:
    before = open_descriptors().keys()
    async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1):
        fds = open_descriptors().keys() - before
        assert len(fds) == 2  # the file, and the folder that has its new name
        assert not any(map(os.get_inheritable, fds))
