"""The event loop, and memory, while large files are read."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import anyio
import pytest

import aiopcap
from tests.support.event_loop import loop_lag
from tests.support.frames import numbered, udp_frame
from tests.support.pcapfiles import pcap_bytes, pcap_header, records
from tests.support.resources import resources

pytestmark = pytest.mark.anyio

CONTENT = pcap_bytes(records(numbered(100)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file.pcap"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 MB of packets without contents, which take no room on the disk."""
    path = tmp_path_factory.mktemp("large") / "sparse.pcap"
    with path.open("wb") as file:
        file.write(pcap_header())
        for number in range(800):
            file.write(struct.pack("<IIII", number, 0, 262144, 262144))
            file.seek(262144 - 1, os.SEEK_CUR)
            file.write(b"\0")
    return path


@pytest.mark.parametrize("way", ["async for", "batches", "a filter that nothing passes"])
async def test_the_loop_runs_on_while_a_large_file_is_read(large_file: Path, way: str) -> None:
    count = 0
    expression = "ip" if way == "a filter that nothing passes" else None
    async with (
        loop_lag(0.005) as lag,
        await aiopcap.open_offline(large_file, filter=expression) as capture,
    ):
        if way == "batches":
            count = sum([len(batch) async for batch in capture.batches()])
        else:
            count = len([1 async for _ in capture])
    assert count == (0 if expression else 800)
    assert lag.max < 0.25


@pytest.mark.parametrize("expression", [None, "ip"])
async def test_the_loop_runs_on_while_memory_is_read(expression: str | None) -> None:
    content = CONTENT[:24] + CONTENT[24:] * 10_000  # 76 MB, a million packets
    async with (
        loop_lag(0.005) as lag,
        await aiopcap.open_offline(content, filter=expression) as capture,
    ):
        count = sum([len(batch) async for batch in capture.batches()])
    assert count == (0 if expression else 1_000_000)
    assert lag.count >= 3
    assert lag.percentile(50) < 0.03


async def test_a_slow_handler_shares_the_loop(path: Path) -> None:
    # A loop over packets is interrupted by time, not by number: its body may cost whatever.
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with await aiopcap.open_offline(path) as capture, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        async for packet in capture:
            for _ in range(3000):
                bytes(packet)
        tasks.cancel_scope.cancel()
    assert turns >= 5


@pytest.mark.memory
async def test_memory_does_not_grow_with_the_file(large_file: Path) -> None:
    before = resources().resident_bytes
    async with await aiopcap.open_offline(large_file) as capture:
        async for batch in capture.batches():
            assert len(batch.data) <= 4 * 1024 * 1024
        assert resources().resident_bytes - before < 64 * 1024 * 1024


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_file_of_more_than_four_gibibytes() -> None:
    # Only the headers of its records take room, in the memory that the holes do not.
    count, size = 17_000, 262144
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".pcap") as file:
        file.write(pcap_header())
        for number in range(count):
            file.write(struct.pack("<IIII", number, 0, size, size))
            file.seek(size, os.SEEK_CUR)
        file.truncate()
        assert Path(file.name).stat().st_size > 1 << 32
        seen = 0
        async with await aiopcap.open_offline(file.name) as capture:
            async for batch in capture.batches():
                assert batch.timestamps_ns[0] == seen * 10**9
                seen += len(batch)
    assert seen == count


@pytest.mark.parametrize("kind", ["path", "memory"])
async def test_the_loop_runs_on_while_a_costly_filter_rejects(kind: str, tmp_path: Path) -> None:
    program = aiopcap.compile(
        " or ".join(f"ip[{20 + number % 20}] = 255" for number in range(400)), optimize=False
    )
    assert len(program.instructions) > 4000
    content = pcap_bytes(records([udp_frame()]))
    content = content[:24] + content[24:] * 60_000
    path = tmp_path / "file.pcap"
    path.write_bytes(content)
    source = path if kind == "path" else content
    async with (
        loop_lag(0.002) as lag,
        await aiopcap.open_offline(source, filter=program) as capture,
    ):
        assert len([1 async for _ in capture]) == 0
    # In one go it would be half a second.
    assert lag.max < 0.2
