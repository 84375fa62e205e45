"""Dumps in the background under load and under trouble: full disks, slow ones, devices that go."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

import aiopcap
from aiopcap import open_live
from tests.dumping import HEADER, RECORD, written

from .support.event_loop import loop_lag
from .support.frames import frame, number_of, numbered
from .support.oracle import read_pcap
from .support.small_disk import small_disk
from .support.veth import Veth
from .support.witnesses import tcpdump_count
from .support_live import PATIENCE, arrived, flood, numbers, take, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.pcap"


# -- load ------------------------------------------------------------------------------------------


async def test_a_burst_of_a_hundred_thousand_is_in_the_file_whole(veth: Veth, path: Path) -> None:
    count = 100_000
    async with await open_live(veth.near, buffer_size=64 * 2**20) as capture:
        async with await capture.live_dump(path) as dump:
            await to_thread.run_sync(veth.send, numbered(count))
            with anyio.fail_after(PATIENCE):
                while dump.packets < count:
                    await anyio.sleep(0.01)
        statistics = capture.statistics()
    assert statistics == (count, 0, 0)
    assert written(path.read_bytes()) == list(range(count))


async def test_a_flood_ends_at_the_limit_and_when_it_is_stopped(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        with flood(veth, [frame()]):
            dump = await capture.live_dump(path, max_packets=20_000)
            with anyio.fail_after(PATIENCE):
                assert (await dump.wait()).packets == 20_000
            assert tcpdump_count(path) == 20_000
            dump = await capture.live_dump(path)
            await until(lambda: dump.packets > 20_000)
            with anyio.fail_after(PATIENCE):
                report = await dump.stop()
            assert report.nbytes == path.stat().st_size == HEADER + report.packets * RECORD
            dump = await capture.live_dump(path)
            await until(lambda: dump.packets > 20_000)
            with anyio.fail_after(PATIENCE):
                await capture.aclose()
    assert (await dump.wait()).reason == "closed"
    assert tcpdump_count(path) == dump.packets


async def test_a_flood_does_not_hold_up_the_loop(veth: Veth) -> None:
    async with await open_live(veth.near) as capture, await capture.live_dump("/dev/null") as dump:
        with flood(veth, [frame()]):
            async with loop_lag(0.002) as lag:
                await until(lambda: lag.count > 100)
                before = dump.packets
                for _ in range(100):
                    capture.statistics()
                    await anyio.sleep(0.001)
        assert dump.packets > before
    assert lag.percentile(50) < 0.01
    assert lag.max < 0.25


async def test_an_idle_dump_sleeps(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture, await capture.live_dump(path):
        await anyio.sleep(0.1)
        before = time.process_time()
        await anyio.sleep(0.5)
        assert time.process_time() - before < 0.03


# -- disks -----------------------------------------------------------------------------------------


async def test_a_slow_disk_fills_the_kernels_buffer_and_stalls_nobody(
    veth: Veth, path: Path
) -> None:
    """Here the disk is a FIFO, of which nobody reads for a while."""
    count, size = 6000, 1400
    os.mkfifo(path)
    got = bytearray()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reader, True)

    def read() -> None:
        while data := os.read(reader, 65536):
            got.extend(data)

    thread = threading.Thread(target=read)
    async with await open_live(veth.near, buffer_size=32 * 2**20, buffer_timeout=0.1) as capture:
        try:
            dump = await capture.live_dump(path)
            async with loop_lag(0.002) as lag:
                await to_thread.run_sync(veth.send, numbered(count, size))
                await arrived(capture, count)
                await until(lambda: dump.nbytes > 2**20)
                before = lag.count
                await until(lambda: lag.count > before + 20)
                # Both of the writer's buffers are full, and the rest is in the kernel's.
                assert dump.packets < count // 2
                assert capture.statistics() == (count, 0, 0)
                await capture.set_filter(None)
        finally:
            thread.start()
        await until(lambda: dump.packets == count)
        with anyio.fail_after(PATIENCE):
            report = await dump.stop()
            await to_thread.run_sync(thread.join)
    os.close(reader)
    assert lag.percentile(50) < 0.01
    assert written(bytes(got)) == list(range(count))
    assert report.nbytes == len(got)


@pytest.mark.parametrize("call", ["wait", "stop", "block"])
async def test_a_full_disk_is_reported_each_time(veth: Veth, tmp_path: Path, call: str) -> None:
    with small_disk(tmp_path, 64 * 1024) as folder:
        path = folder / "file.pcap"
        async with await open_live(veth.near, buffer_size=32 * 2**20) as capture:
            dump = await capture.live_dump(path)
            # More than one of the buffers, so that one is on its way to the disk.
            veth.send(numbered(3000, 1400) if call == "wait" else numbered(100, 1400))
            if call == "wait":
                with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.SavefileWriteError):
                    await dump.wait()
            else:
                await until(lambda: dump.packets == 100)
            if call == "block":
                with pytest.raises(aiopcap.SavefileWriteError):
                    async with dump:
                        pass
            for again in (dump.stop, dump.wait, dump.stop):
                with pytest.raises(aiopcap.SavefileWriteError) as caught:
                    await again()
                assert caught.value.errno == errno.ENOSPC
                assert caught.value.filename == str(path)
            assert dump.ended
            assert dump.nbytes == path.stat().st_size
            # What was not on its way to the file yet is still there.
            veth.send(numbered(1, start=5000))
            with anyio.fail_after(PATIENCE):
                while numbers([await capture.receive()]) != [5000]:
                    pass
        content = path.read_bytes()
    assert len(content) > 60 * 1024
    found = read_pcap(content)
    assert found.complete
    assert [number_of(record.data) for record in found.records] == list(range(len(found.records)))


async def test_an_error_that_was_raised_in_the_block_comes_alone(veth: Veth) -> None:
    async def fail() -> None:
        async with dump:
            with pytest.raises(aiopcap.SavefileWriteError):
                await dump.stop()
            _ = 1 // 0

    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump("/dev/full")
        with pytest.raises(ZeroDivisionError) as caught:
            await fail()
        assert caught.value.__context__ is None


async def test_closing_the_capture_raises_nothing_of_a_full_disk(veth: Veth) -> None:
    capture = await open_live(veth.near)
    dump = await capture.live_dump("/dev/full")
    await capture.aclose()
    for _ in range(2):
        with pytest.raises(aiopcap.SavefileWriteError, match="No space left"):
            await dump.wait()


# -- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("idle", [False, True])
async def test_a_deleted_device_ends_it_behind_its_last_packet(
    veth: Veth, path: Path, idle: bool, immediate: bool
) -> None:
    count = 0 if idle else 10
    async with await open_live(veth.near, immediate=immediate) as capture:
        dump = await capture.live_dump(path)
        veth.send(numbered(count))
        veth.delete()
        for use in (dump.wait, dump.stop, dump.wait):
            with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.InterfaceGoneError):
                await use()
        assert dump.packets == count
        assert written(path.read_bytes()) == list(range(count))
        with pytest.raises(aiopcap.InterfaceGoneError):
            await capture.receive()


async def test_a_device_that_is_down_for_a_while(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture, await capture.live_dump(path) as dump:
        veth.send(numbered(10))
        await until(lambda: dump.packets == 10)
        veth.set_link(False)
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()
        veth.set_link(True)
        veth.send(numbered(10, start=10))
        await until(lambda: dump.packets == 20)
    assert written(path.read_bytes()) == list(range(20))


@pytest.mark.parametrize("told", ["by nobody", "by a sender"])
async def test_a_device_deleted_while_it_is_down(veth: Veth, path: Path, told: str) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        veth.set_link(False)
        if told == "by a sender":
            # The kernel reports it once, and here that is to the sender.
            with pytest.raises(aiopcap.InterfaceDownError):
                await capture.send(frame())
        veth.delete()
        deleted = time.perf_counter()
        with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.InterfaceGoneError):
            await dump.wait()
        assert time.perf_counter() - deleted < 1


async def test_a_new_capture_of_the_same_device_is_another_dump(
    veth: Veth, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pcap"
    async with await open_live(veth.near) as one, await open_live(veth.near) as two:
        async with await one.live_dump(path) as first, await two.live_dump(other) as second:
            veth.send(numbered(100))
            await until(lambda: first.packets == second.packets == 100)
            await first.stop()
            veth.send(numbered(100, start=100))
            await until(lambda: second.packets == 200)
        assert numbers(await take(one, 100)) == list(range(100, 200))
    assert written(path.read_bytes()) == list(range(100))
    assert written(other.read_bytes()) == list(range(200))
