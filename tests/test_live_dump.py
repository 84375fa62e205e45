"""Dumps in the background: what is in the file, and where it ends."""

from __future__ import annotations

import secrets
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

import aiopcap
from aiopcap import DumpReport, open_live
from tests.dumping import HEADER, RECORD, written

from .support.frames import frame, number_of, numbered, vlan_frame
from .support.oracle import read_pcap
from .support.veth import Veth
from .support.witnesses import require_program, tcpdump_records, tshark_fields
from .support_live import PATIENCE, arrived, collect, numbers, take, until
from .support_send import listening

pytestmark = pytest.mark.anyio

SIZES = (60, 200, 1514, 61)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.pcap"


async def end_of(dump: aiopcap.LiveDump) -> DumpReport:
    with anyio.fail_after(PATIENCE):
        return await dump.wait()


async def send_in_thread(veth: Veth, frames: list[bytes]) -> None:
    await to_thread.run_sync(veth.send, frames)


async def dumped(
    veth: Veth, capture: aiopcap.LiveCapture, path: Path, frames: list[bytes], **options: Any
) -> DumpReport:
    """Dump frames that are sent meanwhile; near a limit they take another way than far from one."""
    dump = await capture.live_dump(path, **options)
    veth.send(frames)
    if "max_packets" in options:
        report = await end_of(dump)
    else:
        await until(lambda: dump.packets == len(frames))
        report = await dump.stop()
    assert dump.ended
    assert (dump.packets, dump.nbytes) == (report.packets, report.nbytes)
    assert report.nbytes == path.stat().st_size
    return report


LIMITS: list[dict[str, int]] = [{}, {"max_packets": 400}]


@pytest.mark.parametrize("limits", LIMITS)
async def test_what_comes_is_in_the_file(veth: Veth, path: Path, limits: dict[str, int]) -> None:
    sent = [data for size in SIZES for data in numbered(100, size)]
    async with await open_live(veth.near) as capture:
        begun = time.time_ns()
        report = await dumped(veth, capture, path, sent, **limits)
    records = tcpdump_records(path)
    assert [record.data for record in records] == sent
    times = [record.timestamp_ns for record in records]
    assert begun <= times[0] <= times[-1] <= time.time_ns()
    assert times == sorted(times)
    assert any(moment % 1000 for moment in times)
    assert report.packets == len(sent)
    assert report.reason == ("max_packets" if limits else "stopped")


async def test_other_programs_count_the_same(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        report = await dumped(veth, capture, path, numbered(50))
    said = subprocess.run(
        [require_program("capinfos"), "-Mcsdt", path], check=True, capture_output=True, text=True
    ).stdout
    lines = (line.partition(":") for line in said.splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    assert values["Number of packets"] == str(report.packets) == "50"
    assert values["File size"] == f"{report.nbytes} bytes"
    assert values["Data size"] == f"{50 * 60} bytes"
    assert values["File type"] == "nsecpcap"


@pytest.mark.parametrize("limits", LIMITS)
async def test_microseconds_for_those_who_know_no_others(
    veth: Veth, path: Path, limits: dict[str, int]
) -> None:
    sent = numbered(400)
    async with await open_live(veth.near) as capture:
        begun = time.time_ns() // 1000 * 1000
        await dumped(veth, capture, path, sent, precision="micro", **limits)
    found = read_pcap(path.read_bytes())
    assert (found.precision, found.linktype, found.snaplen) == ("micro", 1, 262144)
    times = [record.timestamp_ns for record in found.records]
    assert begun <= times[0] <= times[-1] <= time.time_ns()
    assert times == sorted(times)
    assert [record.data for record in tcpdump_records(path)] == sent


@pytest.mark.parametrize("limits", [{}, {"max_packets": 4}])
async def test_packets_that_the_snaplen_cuts(
    veth: Veth, path: Path, limits: dict[str, int]
) -> None:
    sent = [frame(size=60), frame(size=200), frame(size=1514), vlan_frame(size=100)]
    async with await open_live(veth.near, snaplen=100) as capture:
        await dumped(veth, capture, path, sent, **limits)
    assert tshark_fields(path, "frame.cap_len", "frame.len") == [
        ("60", "60"),
        ("100", "200"),
        ("100", "1514"),
        ("100", str(len(sent[3]))),
    ]
    assert [record.data for record in tcpdump_records(path)] == [data[:100] for data in sent]


@pytest.mark.parametrize("limits", [{}, {"max_packets": 5}])
async def test_the_any_device(veth: Veth, path: Path, limits: dict[str, int]) -> None:
    # Others may use their devices with the usual one meanwhile.
    ethertype = 0x9000 + secrets.randbelow(0x1000)
    sent = [frame(bytes([number]), ethertype=ethertype) for number in range(5)]
    async with await open_live("any", filter=f"ether proto {ethertype}") as capture:
        await dumped(veth, capture, path, sent, **limits)
    found = read_pcap(path.read_bytes())
    assert found.linktype == aiopcap.LinkType.LINUX_SLL2
    assert [record.data[20:] for record in found.records] == [data[14:] for data in sent]


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 100, 199])
@pytest.mark.parametrize("queued", [True, False])
async def test_exactly_so_many_packets(veth: Veth, path: Path, queued: bool, count: int) -> None:
    async with await open_live(veth.near, immediate=True, snaplen=256) as capture:
        if queued:
            veth.send(numbered(200))
            await arrived(capture, 200)
        dump = await capture.live_dump(path, max_packets=count)
        if not queued:
            veth.send(numbered(200))
        report = await end_of(dump)
        assert report == DumpReport(count, HEADER + count * RECORD, "max_packets")
        assert written(path.read_bytes()) == list(range(count))
        assert numbers(await take(capture, 200 - count)) == list(range(count, 200))


@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize(("spare", "expected"), [(0, 10), (-1, 9), (1, 10), (15, 10), (16, 10)])
async def test_never_more_bytes(
    veth: Veth, path: Path, queued: bool, spare: int, expected: int
) -> None:
    """The tenth packet fits exactly, or by a byte not; one that has no room ends it."""
    sizes = [SIZES[number % 4] for number in range(20)]
    sent = [numbered(1, size, start=number)[0] for number, size in enumerate(sizes)]
    room = HEADER + sum(16 + size for size in sizes[:10]) + spare
    async with await open_live(veth.near, immediate=True, snaplen=2000) as capture:
        if queued:
            veth.send(sent)
            await arrived(capture, 20)
        dump = await capture.live_dump(path, max_bytes=room)
        if not queued:
            veth.send(sent)
        report = await end_of(dump)
        size = HEADER + sum(16 + size for size in sizes[:expected])
        assert report == DumpReport(expected, size, "max_bytes")
        assert path.stat().st_size == size <= room
        assert written(path.read_bytes()) == list(range(expected))
        assert numbers(await take(capture, 20 - expected)) == list(range(expected, 20))


@pytest.mark.parametrize("spare", [0, -1, 1])
async def test_a_limit_that_is_far_away_is_kept_to_the_byte_as_well(
    veth: Veth, path: Path, spare: int
) -> None:
    sizes = [SIZES[number % 4] for number in range(8000)]
    sent = [numbered(1, size, start=number)[0] for number, size in enumerate(sizes)]
    room = HEADER + sum(16 + size for size in sizes[:7001]) + spare
    expected = 7001 if spare >= 0 else 7000
    async with await open_live(veth.near, buffer_size=64 * 2**20) as capture:
        dump = await capture.live_dump(path, max_bytes=room, max_packets=7500)
        await send_in_thread(veth, sent)
        report = await end_of(dump)
        assert report.reason == "max_bytes"
        assert room - 16 - 1514 < report.nbytes == path.stat().st_size <= room
        assert written(path.read_bytes()) == list(range(expected))
        assert report.packets == expected
        assert numbers(await take(capture, 8000 - expected)) == list(range(expected, 8000))


@pytest.mark.parametrize("count", [4095, 4096, 4097, 9000])
async def test_a_number_that_is_more_than_a_batch(veth: Veth, path: Path, count: int) -> None:
    async with await open_live(veth.near, buffer_size=64 * 2**20) as capture:
        dump = await capture.live_dump(path, max_packets=count)
        await send_in_thread(veth, numbered(10_000))
        assert await end_of(dump) == DumpReport(count, HEADER + count * RECORD, "max_packets")
        assert written(path.read_bytes()) == list(range(count))
        assert numbers(await take(capture, 10_000 - count)) == list(range(count, 10_000))


@pytest.mark.parametrize("room", [HEADER, HEADER + 15])
async def test_without_room_for_any_packet_it_ends_at_once(
    veth: Veth, path: Path, room: int
) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path, max_bytes=room)
        assert await end_of(dump) == DumpReport(0, HEADER, "max_bytes")
    assert written(path.read_bytes()) == []


async def test_an_exact_fit_needs_no_packet_more_to_end(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path, max_bytes=HEADER + 3 * RECORD)
        veth.send(numbered(3))
        assert await end_of(dump) == DumpReport(3, HEADER + 3 * RECORD, "max_bytes")


async def test_the_first_limit_counts(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        for limits, reason in (((5, 4), "max_packets"), ((3, 4), "max_bytes")):
            room, most = limits
            dump = await capture.live_dump(path, max_bytes=HEADER + room * RECORD, max_packets=most)
            veth.send(numbered(10))
            report = await end_of(dump)
            assert (report.packets, report.reason) == (min(limits), reason)
            await take(capture, 10 - min(limits))


async def test_dumps_one_behind_the_other_leave_nothing_out(veth: Veth, tmp_path: Path) -> None:
    seen: list[int] = []
    async with await open_live(veth.near) as capture:
        veth.send(numbered(1000))
        for number in range(40):
            path = tmp_path / f"{number}.pcap"
            room, most = (0, 25) if number % 2 else (HEADER + 26 * RECORD - 1, 0)
            dump = await capture.live_dump(path, max_bytes=room, max_packets=most)
            assert (await end_of(dump)).packets == 25
            seen += written(path.read_bytes())
    assert seen == list(range(1000))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_packets": -1}, "max_packets"),
        ({"max_bytes": 1}, "header"),
        ({"max_bytes": 23}, "header"),
        ({"precision": "milli"}, "precision"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_opened(
    veth: Veth, path: Path, options: dict[str, Any], text: str
) -> None:
    async with await open_live(veth.near) as capture:
        with pytest.raises(ValueError, match=text):
            await capture.live_dump(path, **options)
        with pytest.raises(TypeError):
            await capture.live_dump(path, max_packets=1.5)  # type: ignore[arg-type]
        assert not path.exists()
        veth.send(numbered(1))
        assert numbers(await take(capture, 1)) == [0]


async def test_a_path_that_cannot_be_written_is_an_error_at_once(
    veth: Veth, tmp_path: Path
) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(3))
        assert numbers([await capture.receive()]) == [0]
        for target in (tmp_path, tmp_path / "no" / "file.pcap"):
            with pytest.raises(OSError, match="directory"):
                await capture.live_dump(target)
        assert numbers(await take(capture, 2)) == [1, 2]


# -- beside reading and sending --------------------------------------------------------------------


async def test_packets_in_hand_go_first_and_reading_goes_on_after_it(
    veth: Veth, path: Path
) -> None:
    async with await open_live(veth.near, immediate=True, snaplen=256) as capture:
        veth.send(numbered(100))
        await arrived(capture, 100)
        assert numbers(await take(capture, 10)) == list(range(10))
        await end_of(await capture.live_dump(path, max_packets=50))
        assert written(path.read_bytes()) == list(range(10, 60))
        assert numbers(await take(capture, 10)) == list(range(60, 70))
        await end_of(await capture.live_dump(path, max_packets=20))
        assert written(path.read_bytes()) == list(range(70, 90))
        assert numbers(list(await capture.receive_batch())) == list(range(90, 100))


async def test_the_filter_holds_and_a_new_one_from_when_it_is_set(veth: Veth, path: Path) -> None:
    short, long = numbered(5, 60), numbered(5, 200, start=10)
    async with (
        await open_live(veth.near, filter="greater 100") as capture,
        await capture.live_dump(path) as dump,
    ):
        veth.send(short + long)
        await until(lambda: dump.packets == 5)
        await capture.set_filter("less 100")
        veth.send(long + short)
        await until(lambda: dump.packets == 10)
        await capture.set_filter(None)
        veth.send(short + long)
        await until(lambda: dump.packets == 20)
    expected = [*range(10, 15), *range(5), *range(5), *range(10, 15)]
    assert written(path.read_bytes()) == expected


async def test_a_filter_set_in_a_flood_lets_nothing_through_that_does_not_match(
    veth: Veth, path: Path
) -> None:
    last = 40_000
    frames = [numbered(1, 60 + number % 2 * 100, start=number)[0] for number in range(last)]
    async with await open_live(veth.near, buffer_size=64 * 1024 * 1024) as capture:
        async with await capture.live_dump(path) as dump, anyio.create_task_group() as tasks:
            tasks.start_soon(send_in_thread, veth, frames)
            await until(lambda: dump.packets > 1000)
            await capture.set_filter("greater 100")
            taken = dump.packets
            await until(lambda: dump.packets > taken + 1000)
        veth.send(numbered(1, 160, start=last + 1))
        seen = written(path.read_bytes())
        seen += await collect(capture, last + 1)
    assert all(number % 2 for number in seen[taken:])
    assert len(seen) - taken > 1000
    assert all(earlier < later for earlier, later in pairwise(seen))


async def test_a_change_of_the_filter_takes_no_packet_from_a_dump_that_waits(
    veth: Veth, path: Path
) -> None:
    """Setting it reads what is there, of which the descriptor does not tell any more."""
    sent = 0
    async with (
        await open_live(veth.near, immediate=True, snaplen=100) as capture,
        await capture.live_dump(path) as dump,
    ):
        while sent < 100:
            veth.send(numbered(1, start=sent))
            sent += 1
            await capture.set_filter("less 100")
            await until(lambda: dump.packets == sent)  # noqa: B023 - called at once
    assert written(path.read_bytes()) == list(range(sent))


async def test_a_filter_that_only_the_kernel_knows_keeps_what_passed_it(
    veth: Veth, path: Path
) -> None:
    async with await open_live(veth.near, filter="inbound", immediate=True, snaplen=256) as capture:
        veth.send(numbered(20))
        await arrived(capture, 20)
        assert numbers([await capture.receive()]) == [0]
        await end_of(await capture.live_dump(path, max_packets=10))
        assert written(path.read_bytes()) == list(range(1, 11))
        assert numbers(await take(capture, 9)) == list(range(11, 20))


async def test_a_filter_set_after_the_end_holds_for_what_it_left_over(
    veth: Veth, path: Path
) -> None:
    mixed = [numbered(1, 60 + number % 2 * 100, start=number)[0] for number in range(20)]
    async with await open_live(veth.near, immediate=True, snaplen=256) as capture:
        veth.send(mixed)
        await arrived(capture, 20)
        await capture.receive()
        await end_of(await capture.live_dump(path, max_packets=4))
        await capture.set_filter("greater 100")
        assert numbers(await take(capture, 8)) == list(range(5, 20, 2))


async def test_frames_are_sent_and_counters_read_beside_it(veth: Veth, path: Path) -> None:
    outgoing = numbered(2000, start=10_000)
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            async with await capture.live_dump(path) as dump, anyio.create_task_group() as tasks:
                tasks.start_soon(send_in_thread, veth, numbered(20_000))
                for start in range(0, 2000, 100):
                    await capture.send(outgoing[start])
                    await capture.send_batch(outgoing[start + 1 : start + 100])
                    assert capture.statistics().dropped == 0
                    assert capture.fileno() >= 0
                    assert capture.datalinks()
                await until(lambda: dump.packets == 20_000)
            came = [data for data in await far.everything() if number_of(data) >= 10_000]
    assert came == outgoing
    assert written(path.read_bytes()) == list(range(20_000))


async def test_a_dump_that_rotates(veth: Veth, tmp_path: Path) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(
            tmp_path / "part.pcap", max_packets=50, rotate=aiopcap.Rotation(max_packets=20)
        )
        veth.send(numbered(60))
        report = await end_of(dump)
        assert [len(written(path.read_bytes())) for path in dump.files] == [20, 20, 10]
        assert [n for path in dump.files for n in written(path.read_bytes())] == list(range(50))
        sizes = sum(path.stat().st_size for path in dump.files)
        assert (report.packets, report.nbytes, report.reason) == (50, sizes, "max_packets")
        assert numbers(await take(capture, 10)) == list(range(50, 60))


async def test_a_rotation_has_limits_of_its_own(veth: Veth, tmp_path: Path) -> None:
    async with await open_live(veth.near) as capture:
        with pytest.raises(ValueError, match="rotation"):
            await capture.live_dump(
                tmp_path / "x.pcap", max_bytes=100, rotate=aiopcap.Rotation(max_packets=2)
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file.pcapng", "file.pcap.gz", "file.pcapng.gz"])
async def test_a_dump_in_another_format(name: str, veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / name
    async with await open_live(veth.near, filter="ether proto 0x88b5") as capture:
        dump = await capture.live_dump(path, max_packets=30)
        veth.send(numbered(30))
        assert (await end_of(dump)).packets == 30
    assert len(tshark_fields(path, "frame.number")) == 30
    async with await aiopcap.open_offline(path) as copy:
        packets = [packet async for packet in copy]
        assert numbers(packets) == list(range(30))
        if ".pcapng" in name:
            assert [interface.name for interface in copy.interfaces] == [veth.near]
            assert copy.interfaces[0].filter == "ether proto 0x88b5"


@pytest.mark.parametrize("extra", [0, 1])
async def test_a_limit_of_bytes_holds_in_pcapng(extra: int, veth: Veth, tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    async with await open_live(veth.near) as capture:
        async with await capture.live_dump(path, max_packets=1) as dump:
            veth.send(numbered(1))
            first = (await end_of(dump)).nbytes
        limit = first + 3 * (32 + 60) - extra
        dump = await capture.live_dump(path, max_bytes=limit)
        veth.send(numbered(10))
        report = await end_of(dump)
    assert report.packets == 4 - extra
    assert report.nbytes == path.stat().st_size <= limit
