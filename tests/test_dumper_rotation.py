"""What a dumper that goes from file to file puts in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiopcap
from aiopcap import Packet, Rotation
from tests.dumping import (
    HEADER,
    RECORD,
    as_batch,
    flat,
    names,
    numbers_in,
    packets,
    send_all,
    written,
)
from tests.support.frames import frame
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes
from tests.support.witnesses import require_program, tcpdump_count

pytestmark = pytest.mark.anyio


ways = pytest.mark.parametrize("way", ["send", "send_batch"])


@ways
async def test_files_of_so_many_packets(way: str, tmp_path: Path) -> None:
    target = tmp_path / "trace.pcap"
    async with await aiopcap.dump_open(
        target, linktype=1, rotate=Rotation(max_packets=1000)
    ) as dumper:
        await send_all(dumper, packets(3500), way)
    assert names(tmp_path) == [f"trace-0000{number}.pcap" for number in (1, 2, 3, 4)]
    assert [path.name for path in dumper.files] == names(tmp_path)
    assert [tcpdump_count(path) for path in dumper.files] == [1000, 1000, 1000, 500]
    assert flat(numbers_in(dumper.files)) == list(range(3500))


@ways
async def test_files_of_so_many_bytes(way: str, tmp_path: Path) -> None:
    limit = HEADER + 10 * RECORD + RECORD - 1
    large = Packet(frame((25).to_bytes(8, "big"), size=limit))
    items = [*packets(25), large, *packets(25, start=26)]
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_bytes=limit)
    ) as dumper:
        await send_all(dumper, items, way)
    found = numbers_in(dumper.files)
    # The large one is alone, as it has no place beside any other.
    assert [len(numbers) for numbers in found] == [10, 10, 5, 1, 10, 10, 5]
    assert flat(found) == list(range(51))


@pytest.mark.parametrize("spare", [0, 1])
async def test_a_limit_of_bytes_counts_the_header(spare: int, tmp_path: Path) -> None:
    limit = HEADER + 2 * RECORD - 1 + spare
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_bytes=limit)
    ) as dumper:
        await send_all(dumper, packets(6))
    assert [len(numbers) for numbers in numbers_in(dumper.files)] == [1 + spare] * (6 - 3 * spare)


def test_files_of_so_many_seconds(tmp_path: Path) -> None:
    clock = trio.testing.MockClock()

    async def main() -> tuple[Path, ...]:
        rotate = Rotation(max_seconds=60)
        async with await aiopcap.dump_open(
            tmp_path / "trace.pcap", linktype=1, rotate=rotate
        ) as dumper:
            clock.jump(1000)  # the time begins with the first packet
            for number, seconds in enumerate([0, 30, 29.9, 0.1, 0, 59, 1, 600, 1]):
                clock.jump(seconds)
                await dumper.send(packets(1, start=number)[0])
            clock.jump(60)
            await dumper.send_batch(await as_batch(packets(5, start=9)))
        return dumper.files

    expected = [[0, 1, 2], [3, 4, 5], [6], [7, 8], [9, 10, 11, 12, 13]]
    assert numbers_in(trio.run(main, clock=clock)) == expected


async def test_a_file_that_is_over_appears_though_the_buffer_has_room(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=2)
    ) as dumper:
        await send_all(dumper, packets(2))
        assert not list(dumper.files)
        await dumper.send(packets(1, start=2)[0])
        with anyio.fail_after(5):
            while names(tmp_path) != [".trace-00002.pcap.part", "trace-00001.pcap"]:
                await anyio.lowlevel.checkpoint()
        assert dumper.files == (tmp_path / "trace-00001.pcap",)
        assert written(dumper.files[0].read_bytes()) == [0, 1]


async def test_tell_is_of_the_file_that_packets_go_to(tmp_path: Path) -> None:
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=3)
    ) as dumper:
        lengths = []
        for packet in packets(7):
            await dumper.send(packet)
            lengths.append(dumper.tell())
        await dumper.flush()
        [part] = tmp_path.glob(".*.part")
        assert part.stat().st_size == dumper.tell()
    assert lengths == [HEADER + RECORD * count for count in (1, 2, 3, 1, 2, 3, 1)]


@ways
async def test_merged_again_they_are_what_one_file_would_be(way: str, tmp_path: Path) -> None:
    items = [
        Packet(packet.data, timestamp_ns=1_700_000_000_000_000_000 + number)
        for number, packet in enumerate(packets(5000))
    ]
    for rotate, name in (Rotation(max_bytes=7777), "many.pcap"), (None, "one"):
        async with await aiopcap.dump_open(
            tmp_path / name, linktype=1, rotate=rotate, buffer_bytes=10_000
        ) as dumper:
            await send_all(dumper, items, way)
    files = sorted(tmp_path.glob("many-*.pcap"))
    merged = tmp_path / "merged"
    argv = [
        require_program("mergecap"),
        "-a",
        "-F",
        "nsecpcap",
        "-w",
        str(merged),
        *map(str, files),
    ]
    subprocess.run(argv, check=True)
    assert merged.read_bytes()[HEADER:] == (tmp_path / "one").read_bytes()[HEADER:]
    described = subprocess.run(
        [require_program("capinfos"), "-T", "-r", "-m", "-c", *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [int(line.split(",")[-1]) for line in described.splitlines()] == [102] * 49 + [2]


# A record's data, and what it is sent with.
sendings = st.lists(
    st.lists(st.binary(max_size=60), min_size=1, max_size=12), min_size=1, max_size=12
)
limits = st.builds(
    lambda nbytes, count, keep: Rotation(max_bytes=nbytes, max_packets=count, keep=keep),
    st.none() | st.integers(1, 500),
    st.integers(1, 20),
    st.none() | st.integers(1, 5),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=sendings,
    rotate=limits,
    buffer_bytes=st.sampled_from([1, 100, 1000, 100_000]),
    as_batches=st.booleans(),
    flush=st.booleans(),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_the_files_together_are_what_was_sent(
    sent: list[list[bytes]],
    rotate: Rotation,
    buffer_bytes: int,
    as_batches: bool,
    flush: bool,
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rotation")

    async def main() -> tuple[Path, ...]:
        async with await aiopcap.dump_open(
            folder / "{n}.pcap", linktype=1, rotate=rotate, buffer_bytes=buffer_bytes
        ) as dumper:
            for group in sent:
                items = [Packet(data) for data in group]
                await send_all(dumper, items, "send_batch" if as_batches else "send")
                if flush:
                    await dumper.flush()
        return dumper.files

    files = anyio.run(main, backend=backend)
    assert set(files) == set(folder.iterdir())
    found = [[record.data for record in read_pcap(path.read_bytes()).records] for path in files]
    expected = expected_files([data for group in sent for data in group], rotate)
    assert found == expected[-(rotate.keep or len(expected)) :]


def expected_files(datas: list[bytes], rotate: Rotation) -> list[list[bytes]]:
    """What goes where, said as simply as it can be."""
    files: list[list[bytes]] = [[]]
    for data in datas:
        longer = pcap_bytes([Record(0, other) for other in [*files[-1], data]])
        too_long = rotate.max_bytes is not None and len(longer) > rotate.max_bytes
        if files[-1] and (too_long or len(files[-1]) == rotate.max_packets):
            files.append([])
        files[-1].append(data)
    return files
