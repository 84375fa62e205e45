"""Closing and forgetting captures of files."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope, to_thread, wait_all_tasks_blocked

import aiopcap
from tests.reading import SlowFile, read_all
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.resources import open_descriptors, resources

pytestmark = pytest.mark.anyio

CONTENT = pcap_bytes(records(numbered(100)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file.pcap"
    file.write_bytes(CONTENT)
    return file


async def test_closing_twice_and_in_a_cancelled_scope(path: Path) -> None:
    before = open_descriptors()
    capture = await aiopcap.open_offline(path)
    with CancelScope() as scope:
        scope.cancel()
        await capture.aclose()
    assert scope.cancelled_caught
    assert open_descriptors() == before
    await capture.aclose()
    await capture.aclose()


async def test_the_with_block_closes_whatever_ends_it(path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(ZeroDivisionError):
        await divide_by_zero(path)
    assert open_descriptors() == before


async def divide_by_zero(path: Path) -> None:
    async with await aiopcap.open_offline(path) as capture:
        await capture.receive()
        _ = 1 // 0


USES: dict[str, Callable[[aiopcap.OfflineCapture], Any]] = {
    "__anext__": anext,
    "receive": lambda capture: capture.receive(),
    "receive_nowait": lambda capture: capture.receive_nowait(),
    "receive_batch": lambda capture: capture.receive_batch(),
    "batches": lambda capture: anext(capture.batches()),
    "batches(3)": lambda capture: anext(capture.batches(3)),
    "set_filter": lambda capture: capture.set_filter("udp"),
    "set_filter(None)": lambda capture: capture.set_filter(None),
    "dump_open": lambda capture: capture.dump_open(os.devnull),
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("name", USES)
async def test_nothing_works_on_a_closed_capture(path: Path, name: str, used: bool) -> None:
    capture = await aiopcap.open_offline(path)
    if used:
        await capture.receive()  # there is a batch in hand, with packets left
    await capture.aclose()
    for _ in range(2):
        with pytest.raises(anyio.ClosedResourceError):
            await use(USES[name], capture)


async def use(call: Callable[[aiopcap.OfflineCapture], Any], capture: Any) -> None:
    result = call(capture)
    if inspect.isawaitable(result):
        await result


async def test_what_is_known_of_a_file_is_known_when_it_is_closed(path: Path) -> None:
    async with await aiopcap.open_offline(path, filter="ip") as capture:
        pass
    assert capture.linktype is aiopcap.LinkType.EN10MB
    assert capture.snaplen == 262144
    assert str(capture.filter) == "ip"
    assert (capture.version, capture.format) == ((2, 4), "pcap")
    assert "closed" in repr(capture)


async def test_every_public_method_is_tried_above() -> None:
    methods = {
        name
        for name, member in inspect.getmembers(aiopcap.OfflineCapture, inspect.isfunction)
        if not name.startswith("_")
    } - {"aclose", "extra"}  # anyio's own, for attributes that no capture has
    assert methods == {name.partition("(")[0] for name in USES if not name.startswith("_")}


@pytest.mark.parametrize("way", ["receive", "async for", "batches"])
async def test_closing_wakes_a_reader_whose_thread_is_blocked(way: str) -> None:
    file = SlowFile(CONTENT, at_once=500)
    capture = await aiopcap.open_offline(file)
    outcome: list[BaseException] = []

    async def read() -> None:
        try:
            if way == "async for":
                async for _ in capture:
                    pass
            elif way == "batches":
                async for _ in capture.batches():
                    pass
            else:
                while True:
                    await capture.receive()
        except anyio.ClosedResourceError as error:
            outcome.append(error)

    file.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await to_thread.run_sync(file.entered.wait)
        await wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await capture.aclose()
    assert len(outcome) == 1
    file.release()


async def test_a_file_is_closed_when_the_thread_that_reads_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "large.pcap"
    path.write_bytes(pcap_bytes(records(numbered(50_000))))
    before = open_descriptors()
    for _ in range(20):
        capture = await aiopcap.open_offline(path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_closed, capture)
            await anyio.lowlevel.checkpoint()
            await capture.aclose()
    with anyio.fail_after(5):
        while open_descriptors().keys() - before.keys():
            await anyio.lowlevel.checkpoint()


async def until_closed(capture: aiopcap.OfflineCapture) -> None:
    with contextlib.suppress(anyio.ClosedResourceError):
        while True:
            await capture.receive_batch()


async def test_closing_between_two_packets_of_a_loop(path: Path) -> None:
    capture = await aiopcap.open_offline(path)
    seen: list[int] = []
    with pytest.raises(anyio.ClosedResourceError):
        await close_after(capture, seen, 3)
    assert seen == [0, 1, 2]


async def close_after(capture: aiopcap.OfflineCapture, seen: list[int], count: int) -> None:
    async for packet in capture:
        seen.append(number_of(packet.data))
        if len(seen) == count:
            await capture.aclose()


async def test_packets_and_batches_outlive_their_capture(path: Path) -> None:
    async with await aiopcap.open_offline(path) as capture:
        packet = await capture.receive()
        batch = await capture.receive_batch()
    path.write_bytes(bytes(len(CONTENT)))
    del capture
    gc.collect()
    assert number_of(packet.data) == 0
    assert [number_of(packet.data) for packet in batch] == list(range(1, 1 + len(batch)))


@pytest.mark.parametrize("stage", ["unread", "read", "at its end"])
async def test_a_forgotten_capture_warns_and_is_freed(path: Path, stage: str) -> None:
    gc.collect()
    before = open_descriptors()
    kept = [await aiopcap.open_offline(path)]
    if stage == "read":
        await kept[0].receive()
    if stage == "at its end":
        async for _ in kept[0]:
            pass
    with pytest.warns(ResourceWarning, match=r"Unclosed.*file\.pcap"):
        forget(kept)
    assert open_descriptors() == before


def forget(kept: list[aiopcap.OfflineCapture]) -> None:
    kept.clear()
    gc.collect()


@pytest.mark.memory
async def test_two_hundred_times_opened_and_closed_leave_nothing(path: Path) -> None:
    async def once() -> None:
        async with await aiopcap.open_offline(path, filter="ip or not ip") as capture:
            await capture.receive()
            await capture.receive_batch()
        outcome = await read_all(CONTENT[:-1])
        assert outcome.error is not None
        with pytest.raises(aiopcap.SavefileError):
            await aiopcap.open_offline(b"no savefile at all")

    for _ in range(20):
        await once()
    before = resources()
    for _ in range(200):
        await once()
    after = resources()
    assert after.descriptors == before.descriptors
    assert after.mappings <= before.mappings + 10
    assert after.resident_bytes - before.resident_bytes < 8 * 1024 * 1024
