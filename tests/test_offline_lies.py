"""Savefiles whose lengths lie, and files that fail: bounded memory, typed errors."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import pytest

import aiopcap
from tests.reading import End, read_all, rest_of
from tests.support import pcapngfiles as ng
from tests.support.frames import numbered
from tests.support.pcapfiles import pcap_bytes, pcap_header, pcap_record, records
from tests.support.programs import run_python
from tests.support.reference_reader import read_savefile

pytestmark = pytest.mark.anyio


def claiming(captured: int, *, linktype: int = 1, snaplen: int = 262144) -> bytes:
    """A savefile whose one record claims a length that it has not."""
    head = pcap_header(linktype=linktype, snaplen=snaplen)
    return head + struct.pack("<IIII", 1, 1, captured, captured) + bytes(100)


LIARS: dict[str, tuple[bytes, End]] = {
    "four gigabytes": (claiming(2**32 - 1), "invalid"),
    "two gigabytes": (claiming(2**31), "invalid"),
    "one more than allowed": (claiming(262145), "invalid"),
    "as much as allowed": (claiming(262144), "truncated"),
    "a snaplen that lies too": (claiming(2**31 - 1, snaplen=2**31 - 1), "invalid"),
    "a large message on a bus": (claiming(128 << 20, linktype=231), "truncated"),
    "a larger message on a bus": (claiming((128 << 20) + 1, linktype=231), "invalid"),
    "a block of four gigabytes": (
        ng.section() + ng.interface() + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(64),
        "invalid",
    ),
    "a block of sixteen megabytes": (
        ng.section() + ng.interface() + struct.pack("<II", 6, 16 << 20) + bytes(64),
        "truncated",
    ),
    "a packet larger than its block": (
        ng.section()
        + ng.interface()
        + ng.block(6, struct.pack("<IIIII", 0, 0, 0, 2**32 - 1, 2**32 - 1)),
        "invalid",
    ),
    "an option that ends nowhere": (
        ng.section() + ng.interface() + ng.block(1, struct.pack("<HHIHH", 1, 0, 0, 9, 0xFFFF)),
        "invalid",
    ),
    "options without an end": (
        ng.section() + ng.interface() + ng.block(1, bytes(8) + struct.pack("<HH", 1, 0) * 1000),
        "complete",
    ),
}


@pytest.mark.memory
@pytest.mark.parametrize("name", LIARS)
async def test_a_lying_length_costs_no_memory(name: str) -> None:
    content, end = LIARS[name]
    tracemalloc.start()
    try:
        outcome = await read_all(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (outcome.packets, outcome.end) == ([], end)
    assert peak < 8 * 1024 * 1024


async def test_a_damaged_length_does_not_take_the_packets_before_along() -> None:
    sound = pcap_bytes(records(numbered(1000)))
    packets, error = await read_all(sound + struct.pack("<IIII", 1, 1, 2**30, 2**30))
    assert len(packets) == 1000
    assert "invalid packet capture length 1073741824" in str(error)


async def test_a_file_of_many_sections_is_read_to_its_end(tmp_path: Path) -> None:
    # What `cat` makes of many files.
    path = tmp_path / "sections.pcapng"
    section = ng.section() + ng.interface()
    path.write_bytes(section * 66_000 + (section + ng.enhanced_packet(b"x", 1)) * 100)
    async with await aiopcap.open_offline(path) as capture:
        assert sum([len(batch) async for batch in capture.batches()]) == 100


async def test_a_file_that_shrinks_while_it_is_read_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.pcap"
    content = pcap_bytes(records(numbered(300_000)))  # more than is read ahead
    path.write_bytes(content)
    async with await aiopcap.open_offline(path) as capture:
        await capture.receive()
        os.truncate(path, len(content) - 30)
        packets, error = await rest_of(capture)
    assert len(packets) == 299_998
    assert isinstance(error, aiopcap.TruncatedSavefileError)


@pytest.mark.memory
def test_too_little_memory_for_a_packet_is_a_memory_error() -> None:
    # The error reaches the task that waits, and the capture can still be closed.
    printed = run_python(
        """
        import pathlib, resource, struct, sys
        import anyio, aiopcap

        class Endless:
            def __init__(self, head):
                self.head = head
            def read(self, size):
                data, self.head = self.head, b""
                return data or bytes(min(size, 1 << 20))

        async def main():
            head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 27, 231)
            head += struct.pack("<IIII", 1, 1, 1 << 27, 1 << 27)
            capture = await aiopcap.open_offline(Endless(head))
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + (64 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            try:
                await capture.receive()
            except MemoryError:
                print("MemoryError")
            await capture.aclose()

        anyio.run(main, backend=sys.argv[1])
        """,
        "asyncio",
    )
    assert printed == b"MemoryError\n"


async def test_an_error_of_the_file_object_reaches_the_reader() -> None:
    class Failing:
        def __init__(self) -> None:
            self.pieces = [pcap_bytes(records(numbered(3)))]

        def read(self, size: int) -> bytes:
            if self.pieces:
                return self.pieces.pop()
            raise OSError(5, "the disk broke")

    async with await aiopcap.open_offline(Failing()) as capture:
        assert [len(await capture.receive()) for _ in range(3)] == [60] * 3
        for _ in range(2):
            with pytest.raises(OSError, match="the disk broke"):
                await capture.receive()


async def test_pcap_records_may_follow_without_end() -> None:
    # An interrupted writer leaves zeros behind: empty packets of 1970, as libpcap reads them.
    content = pcap_bytes(records(numbered(1))) + bytes(64)
    outcome = await read_all(content)
    assert [len(packet) for packet in outcome.packets] == [60, 0, 0, 0, 0]
    assert outcome.reading == read_savefile(content)
    assert pcap_record(outcome.reading.packets[1]) == bytes(16)
