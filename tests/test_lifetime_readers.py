"""One reader at a time, on the event loop that opened the capture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live

from .live_programs import options
from .support.frames import numbered
from .support.resources import open_descriptors
from .support.veth import Veth
from .support_live import BACKENDS, PATIENCE, call, numbers, take, until

READS: dict[str, Callable[[aiopcap.LiveCapture], Any]] = {
    "receive": lambda capture: capture.receive(),
    "receive_nowait": lambda capture: capture.receive_nowait(),
    "receive_batch": lambda capture: capture.receive_batch(),
    "async for": lambda capture: anext(aiter(capture)),
    "batches": lambda capture: anext(capture.batches()),
    "live_dump": lambda capture: capture.live_dump("/dev/null"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("second", READS.values(), ids=READS.keys())
async def test_a_second_reader_is_turned_away(veth: Veth, second: Callable[..., Any]) -> None:
    first: list[int] = []

    async def read() -> None:
        first.extend(numbers(await take(capture, 20)))

    async with await open_live(veth.near) as capture:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await wait_all_tasks_blocked()
                for start in (0, 10):
                    with pytest.raises(anyio.BusyResourceError):
                        await call(second, capture)
                    veth.send(numbered(10, start=start))
                    await wait_all_tasks_blocked()
        assert first == list(range(20))
        # The place is free again.
        veth.send(numbered(1, start=20))
        assert numbers(await take(capture, 1)) == [20]


@pytest.mark.anyio
async def test_a_reader_that_was_cancelled_makes_room(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        for number in range(5):
            with anyio.move_on_after(0.001):
                await capture.receive()
            veth.send(numbered(1, start=number))
            assert numbers(await take(capture, 1)) == [number]


@pytest.mark.anyio
async def test_what_does_not_read_may_be_done_while_one_reads(veth: Veth) -> None:
    seen: list[int] = []

    async def read() -> None:
        seen.extend(numbers(await take(capture, 100)))

    async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        for number in range(100):
            assert capture.statistics().dropped == 0
            assert capture.datalinks()
            assert capture.fileno() > 0
            veth.send(numbered(1, start=number))
            if number % 10 == 0:
                await capture.set_filter(None if number % 20 else "ether proto 0x88b5")
    assert seen == list(range(100))


FOREIGN: dict[str, Callable[[aiopcap.LiveCapture], Any]] = READS | {
    "set_filter": lambda capture: capture.set_filter("udp"),
    "statistics": lambda capture: capture.statistics(),
    "datalinks": lambda capture: capture.datalinks(),
    "set_datalink": lambda capture: capture.set_datalink(1),
    "fileno": lambda capture: capture.fileno(),
    "dump_open": lambda capture: capture.dump_open("/dev/null"),
    "aclose": lambda capture: capture.aclose(),
}


@pytest.mark.anyio
@pytest.mark.parametrize("other", BACKENDS)
async def test_another_event_loop_may_not_use_a_capture(veth: Veth, other: str) -> None:
    refused: list[str] = []

    def use_elsewhere() -> None:
        for name, use in FOREIGN.items():
            try:
                anyio.run(call, use, capture, **options(other))
            except (RuntimeError, anyio.BusyResourceError):
                refused.append(name)

    async def read() -> None:
        assert numbers(await take(capture, 2)) == [0, 1]

    async with await open_live(veth.near) as capture:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await wait_all_tasks_blocked()
                await to_thread.run_sync(use_elsewhere)
                veth.send(numbered(2))
        assert refused == [*FOREIGN]


@pytest.mark.anyio
async def test_a_plain_thread_may_not_use_a_capture(veth: Veth) -> None:
    errors: list[Exception] = []

    def use_in_thread() -> None:
        for use in (READS["receive_nowait"], FOREIGN["statistics"], FOREIGN["fileno"]):
            try:
                use(capture)
            except RuntimeError as error:
                errors.append(error)

    async with await open_live(veth.near) as capture:
        thread = threading.Thread(target=use_in_thread)
        thread.start()
        thread.join()
        assert len(errors) == 3


@pytest.mark.parametrize("other", BACKENDS)
@pytest.mark.anyio
async def test_event_loops_beside_each_other_have_captures_of_their_own(
    veth: Veth, other: str
) -> None:
    opened = threading.Event()

    async def read() -> list[int]:
        async with await open_live(veth.near) as capture:
            opened.set()
            return numbers(await take(capture, 1000))

    async with await open_live(veth.near) as capture, anyio.create_task_group() as tasks:
        seen: list[list[int]] = []

        async def read_elsewhere() -> None:
            seen.append(await to_thread.run_sync(lambda: anyio.run(read, **options(other))))

        tasks.start_soon(read_elsewhere)
        await until(opened.is_set)
        for start in range(0, 1000, 100):
            veth.send(numbered(100, start=start))
        seen.append(numbers(await take(capture, 1000)))
    assert seen == [list(range(1000))] * 2


@pytest.mark.anyio
async def test_the_descriptor_can_be_waited_on_by_others(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        for number in range(5):
            with anyio.move_on_after(0.01) as scope:
                await anyio.wait_readable(capture.fileno())
            assert scope.cancelled_caught
            veth.send(numbered(1, start=number))
            with anyio.fail_after(PATIENCE):
                await anyio.wait_readable(capture.fileno())
            assert numbers([capture.receive_nowait()]) == [number]
            with pytest.raises(anyio.WouldBlock):
                capture.receive_nowait()


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("then", BACKENDS)
def test_when_its_event_loop_is_over_a_capture_can_still_be_closed(
    veth: Veth, backend: str, then: str
) -> None:
    async def open_and_read() -> tuple[aiopcap.LiveCapture, str]:
        capture = await open_live(veth.near)
        socket = open_descriptors()[capture.fileno()]
        veth.send(numbered(5))
        await take(capture, 2)
        with anyio.move_on_after(0.01):
            while True:
                await capture.receive()
        return capture, socket

    capture, socket = anyio.run(open_and_read, **options(backend))
    for use in (READS["receive"], FOREIGN["statistics"]):
        with pytest.raises(RuntimeError, match="event loop"):
            anyio.run(call, use, capture, **options(then))
    anyio.run(capture.aclose, **options(then))
    assert socket not in open_descriptors().values()
