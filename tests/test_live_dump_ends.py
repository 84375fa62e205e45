"""Dumps in the background: who may stop, wait, cancel, close and forget, and what is left then."""

from __future__ import annotations

import asyncio
import gc
import os
import select
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import DumpReport, open_live
from tests.dumping import HEADER, RECORD, written

from .support.frames import numbered
from .support.resources import open_descriptors, resources
from .support.veth import Veth
from .support.witnesses import tcpdump_count
from .support_live import (
    ASYNCIO_ALONE,
    BACKENDS,
    PATIENCE,
    arrived,
    call,
    numbers,
    run_program,
    take,
    until,
)
from .test_lifetime_readers import READS

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.pcap"


def report_of(count: int, reason: Any) -> DumpReport:
    return DumpReport(count, HEADER + count * RECORD, reason)


# -- stop and wait ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5000])
async def test_a_stop_completes_the_file(veth: Veth, path: Path, count: int) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        veth.send(numbered(count))
        await until(lambda: dump.packets == count)
        assert dump.nbytes == HEADER + count * RECORD
        report = await dump.stop()
        assert report == report_of(count, "stopped")
        assert written(path.read_bytes()) == list(range(count))
        assert tcpdump_count(path) == count
        for again in (dump.stop, dump.wait, dump.stop):
            assert await again() == report


async def test_what_was_there_before_the_stop_is_in_the_file(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near, immediate=True, snaplen=256) as capture:
        for _ in range(30):
            dump = await capture.live_dump(path)
            veth.send(numbered(100))
            assert await dump.stop() == report_of(100, "stopped")
            assert written(path.read_bytes()) == list(range(100))


async def test_what_comes_after_the_stop_is_for_the_next_reader(veth: Veth, path: Path) -> None:
    seen: list[int] = []
    async with await open_live(veth.near) as capture:
        for start in range(0, 3000, 100):
            dump = await capture.live_dump(path)
            veth.send(numbered(100, start=start))
            await dump.stop()
            seen += written(path.read_bytes())
            seen += numbers(await take(capture, start + 100 - len(seen)))
    assert seen == list(range(3000))


async def test_a_stop_after_the_limit_changes_nothing(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        async with await capture.live_dump(path, max_packets=3) as dump:
            veth.send(numbered(10))
            await until(lambda: dump.ended)
            assert await dump.stop() == report_of(3, "max_packets")
        assert await dump.wait() == report_of(3, "max_packets")


async def test_the_end_of_a_block_stops_it(veth: Veth, path: Path) -> None:
    async def fail() -> None:
        async with dump:
            veth.send(numbered(10))
            await until(lambda: dump.packets == 10)
            _ = 1 // 0

    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        with pytest.raises(ZeroDivisionError):
            await fail()
        assert dump.ended
        assert await dump.wait() == report_of(10, "stopped")


async def test_a_block_that_is_cancelled_leaves_a_complete_file(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        with anyio.CancelScope() as scope:
            async with await capture.live_dump(path) as dump:
                veth.send(numbered(20))
                await until(lambda: dump.packets == 20)
                scope.cancel()
                await anyio.sleep_forever()
        assert dump.ended
        assert written(path.read_bytes()) == list(range(20))


async def test_several_tasks_may_wait(veth: Veth, path: Path) -> None:
    reports: list[DumpReport] = []

    async def wait() -> None:
        reports.append(await dump.wait())

    with anyio.fail_after(PATIENCE):
        async with await open_live(veth.near) as capture:
            dump = await capture.live_dump(path)
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(wait)
                async with anyio.create_task_group() as cancelled:
                    cancelled.start_soon(dump.wait)
                    await wait_all_tasks_blocked()
                    cancelled.cancel_scope.cancel()
                assert not dump.ended
                await dump.stop()
    assert reports == [report_of(0, "stopped")] * 3


async def test_the_first_of_several_that_wait_is_cancelled(veth: Veth, path: Path) -> None:
    reports: list[DumpReport] = []

    async def wait() -> None:
        reports.append(await dump.wait())

    with anyio.fail_after(PATIENCE):
        async with await open_live(veth.near) as capture:
            dump = await capture.live_dump(path, max_packets=5)
            async with anyio.create_task_group() as tasks:
                first = anyio.CancelScope()

                async def wait_first() -> None:
                    with first:
                        await dump.wait()

                tasks.start_soon(wait_first)
                await wait_all_tasks_blocked()
                tasks.start_soon(wait)
                await wait_all_tasks_blocked()
                first.cancel()
                await wait_all_tasks_blocked()
                veth.send(numbered(5))
    assert first.cancelled_caught
    assert reports == [report_of(5, "max_packets")]


async def test_a_cancelled_stop_ends_it_all_the_same(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        veth.send(numbered(5))
        await until(lambda: dump.packets == 5)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await dump.stop()
        assert scope.cancelled_caught
        await until(lambda: dump.ended)
        assert written(path.read_bytes()) == list(range(5))


@pytest.mark.parametrize("anyio_backend", ASYNCIO_ALONE)
@pytest.mark.parametrize("turns", range(6))
async def test_a_task_cancelled_by_asyncio_leaves_a_complete_file(
    veth: Veth, path: Path, turns: int
) -> None:
    """A shield of anyio's does not hold that off."""
    capture = await open_live(veth.near)
    dump = await capture.live_dump(path)
    veth.send(numbered(50))
    await until(lambda: dump.packets == 50)

    async def use() -> None:
        async with dump:
            pass

    task = asyncio.ensure_future(use())
    for _ in range(turns):
        await checkpoint()
    task.cancel()
    await asyncio.wait([task])
    if turns == 0:  # cancelled before it began
        await dump.stop()
    assert dump.ended
    assert written(path.read_bytes()) == list(range(50))
    await capture.aclose()


async def test_wait_and_stop_are_checkpoints_even_after_the_end(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path, max_bytes=HEADER)
        await dump.wait()
        for use in (dump.wait, dump.stop):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await use()
            assert scope.cancelled_caught


# -- one reader at a time --------------------------------------------------------------------------


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
async def test_who_reads_beside_it_is_turned_away(
    veth: Veth, path: Path, read: Callable[[aiopcap.LiveCapture], Any]
) -> None:
    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        for start in (0, 10):
            with pytest.raises(anyio.BusyResourceError):
                await call(read, capture)
            with pytest.raises(anyio.BusyResourceError):
                capture.set_datalink(capture.linktype)
            veth.send(numbered(10, start=start))
        await until(lambda: dump.packets == 20)
        await dump.stop()
        # The place is free again.
        veth.send(numbered(1, start=20))
        assert numbers(await take(capture, 1)) == [20]
    assert written(path.read_bytes()) == list(range(20))


async def test_it_does_not_begin_beside_a_reader(veth: Veth, path: Path) -> None:
    seen: list[int] = []

    async def read() -> None:
        seen.extend(numbers(await take(capture, 5)))

    async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await capture.live_dump(path)
        assert not path.exists()
        veth.send(numbered(5))
    assert seen == list(range(5))


async def test_a_second_dump_opens_nothing(veth: Veth, path: Path, tmp_path: Path) -> None:
    async with await open_live(veth.near) as capture, await capture.live_dump(path):
        with pytest.raises(anyio.BusyResourceError):
            await capture.live_dump(tmp_path / "second.pcap")
    assert not (tmp_path / "second.pcap").exists()


# -- the opening -----------------------------------------------------------------------------------


async def test_cancelled_while_it_opens_nothing_begins(veth: Veth, path: Path) -> None:
    os.mkfifo(path)
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send(numbered(5))
        await arrived(capture, 5)
        assert numbers([await capture.receive()]) == [0]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(capture.live_dump, path)
            await wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await capture.receive()
            tasks.cancel_scope.cancel()
        assert numbers(await take(capture, 4)) == [1, 2, 3, 4]
    await let_go(path)


async def test_closed_while_it_opens(veth: Veth, path: Path) -> None:
    os.mkfifo(path)

    async def dump() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await capture.live_dump(path)

    capture = await open_live(veth.near)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dump)
            await wait_all_tasks_blocked()
            await capture.aclose()
            await let_go(path)


async def let_go(fifo: Path) -> None:
    """Let the thread that opens a FIFO for writing come back, and see that it closes it."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(reader)
    try:
        await until(lambda: bool(poll.poll(0)))
        assert [*open_descriptors().values()].count(str(fifo)) == 1
    finally:
        os.close(reader)


# -- the capture's end -----------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [True, False])
async def test_closing_the_capture_completes_the_file(
    veth: Veth, path: Path, waiting: bool
) -> None:
    reports: list[DumpReport] = []

    async def wait() -> None:
        reports.append(await dump.wait())

    capture = await open_live(veth.near, immediate=True, snaplen=256)
    dump = await capture.live_dump(path)
    veth.send(numbered(100))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            if waiting:
                tasks.start_soon(wait)
                await wait_all_tasks_blocked()
            await capture.aclose()
            assert dump.ended
            assert written(path.read_bytes()) == list(range(100))
        for again in (dump.wait, dump.stop):
            assert await again() == report_of(100, "closed")
    assert reports == [report_of(100, "closed")] * waiting


async def test_a_cancelled_close_completes_the_file_too(veth: Veth, path: Path) -> None:
    capture = await open_live(veth.near)
    dump = await capture.live_dump(path)
    veth.send(numbered(10))
    await until(lambda: dump.packets == 10)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await capture.aclose()
    assert dump.ended
    assert written(path.read_bytes()) == list(range(10))


def dumps(capture: aiopcap.LiveCapture) -> bool:
    try:
        capture.receive_nowait()
    except anyio.BusyResourceError:
        return True
    except anyio.WouldBlock:
        return False
    raise AssertionError


async def test_the_capture_keeps_a_dump_that_nobody_else_keeps(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:
        await capture.live_dump(path, max_packets=10)
        gc.collect()
        assert dumps(capture)
        veth.send(numbered(10))
        await until(lambda: not dumps(capture))
        assert written(path.read_bytes()) == list(range(10))


async def test_forgotten_with_its_capture_which_warns_it_completes_the_file(
    veth: Veth, path: Path
) -> None:
    async def begin() -> list[object]:
        capture = await open_live(veth.near)
        dump = await capture.live_dump(path)
        veth.send(numbered(10))
        await until(lambda: dump.packets == 10)
        return [capture, dump]

    veth.send(numbered(1))  # opens a socket of its own
    before = open_descriptors()
    kept = await begin()
    with pytest.warns(ResourceWarning, match=f"Unclosed <LiveCapture '{veth.near}'>"):
        forget(kept)
    await until(lambda: open_descriptors() == before)
    assert written(path.read_bytes()) == list(range(10))


def forget(kept: list[object]) -> None:
    kept.clear()
    gc.collect()


@pytest.mark.memory
async def test_fifty_dumps_leave_nothing(veth: Veth, path: Path) -> None:
    async with await open_live(veth.near) as capture:

        async def once() -> None:
            async with await capture.live_dump(path) as dump:
                veth.send(numbered(10))
                await until(lambda: dump.packets == 10)

        for _ in range(5):
            await once()
        before = resources()
        for _ in range(50):
            await once()
        after = resources()
    assert after.descriptors == before.descriptors
    assert after.mappings <= before.mappings + 10
    assert after.resident_bytes - before.resident_bytes < 20 * 2**20


# -- other loops, other processes ------------------------------------------------------------------


@pytest.mark.parametrize("other", BACKENDS)
async def test_another_event_loop_may_not_use_it(veth: Veth, path: Path, other: str) -> None:
    uses: list[Callable[[], Awaitable[Any]]] = []

    def use_elsewhere() -> None:
        for use in uses:
            with pytest.raises(RuntimeError, match="event loop"):
                anyio.run(use, backend="trio" if other == "trio" else "asyncio")

    async with await open_live(veth.near) as capture:
        dump = await capture.live_dump(path)
        uses += [dump.wait, dump.stop]
        await anyio.to_thread.run_sync(use_elsewhere)
        assert not dump.ended
        await dump.stop()


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_leaves_it_to_the_parent(backend: str, tmp_path: Path) -> None:
    run_program("fork", "dump_in_parent", backend, str(tmp_path / "file.pcap"))


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_end_of_the_program_completes_the_file(backend: str, tmp_path: Path) -> None:
    savefile = tmp_path / "file.pcap"
    run_program("leave", "with_a_dump", backend, str(savefile), flags=())
    assert tcpdump_count(savefile) == 100
