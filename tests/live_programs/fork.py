"""A capture in a process that forks."""

import gc
import multiprocessing
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel

import aiopcap
from aiopcap import LinkType, open_live
from tests.live_programs import in_child, main
from tests.support.frames import number_of, numbered
from tests.support.resources import open_descriptors
from tests.support.veth import veth_pair

# Newer Pythons warn of forks beside threads. They are right, but it is done.
warnings.simplefilter("ignore", DeprecationWarning)

USES: list[Callable[[aiopcap.LiveCapture], Any]] = [
    lambda capture: capture.receive(),
    lambda capture: capture.receive_nowait(),
    lambda capture: capture.receive_batch(),
    lambda capture: capture.send(bytes(60)),
    lambda capture: capture.send_nowait(bytes(60)),
    lambda capture: capture.send_batch([bytes(60)]),
    lambda capture: anext(capture.batches()),
    lambda capture: capture.set_filter("udp"),
    lambda capture: capture.statistics(),
    lambda capture: capture.datalinks(),
    lambda capture: capture.set_datalink(LinkType.EN10MB),
    lambda capture: capture.fileno(),
    lambda capture: capture.dump_open(os.devnull),
    lambda capture: capture.live_dump(os.devnull),
]


def _step(awaitable: Awaitable[Any]) -> None:
    # The loop belongs to the parent: take the first step by hand.
    coroutine = awaitable.__await__()
    try:
        next(coroutine)
    except StopIteration as done:
        raise AssertionError(f"returned {done.value!r}") from None


async def use_in_child() -> None:
    """Each use in the child is refused; the parent gets all of its packets."""
    with veth_pair() as veth:
        async with await open_live(veth.near) as capture:
            veth.send(numbered(10))

            def use() -> None:
                for number, function in enumerate(USES):
                    try:
                        result = function(capture)
                        if isinstance(result, Awaitable):
                            _step(result)
                    except RuntimeError as error:
                        if "fork" not in str(error):
                            raise
                    else:
                        raise AssertionError(number)

            in_child(use)
            veth.send(numbered(10, start=10))
            await _receive(capture, list(range(20)))


async def use_in_child_with_packets_in_hand() -> None:
    """Packets that the parent has in hand are the parent's."""
    with veth_pair() as veth:
        async with await open_live(veth.near, immediate=True) as capture:
            veth.send(numbered(20))
            with anyio.fail_after(10):
                while capture.statistics().received < 20:
                    await anyio.lowlevel.checkpoint()
            assert number_of((await capture.receive()).data) == 0

            def use() -> None:
                for function in (USES[1], USES[0], USES[2]):
                    try:
                        result = function(capture)
                        if isinstance(result, Awaitable):
                            _step(result)
                    except RuntimeError:
                        continue
                    raise AssertionError

            in_child(use)
            await _receive(capture, list(range(1, 20)))


async def end_in_child() -> None:
    """Neither the child's exit nor its garbage collection disturbs the parent."""
    with veth_pair() as veth:
        capture = await open_live(veth.near)
        socket = open_descriptors()[capture.fileno()]
        veth.send(numbered(5))

        def collect() -> None:
            nonlocal capture
            warnings.simplefilter("ignore", ResourceWarning)
            del capture
            gc.collect()
            assert socket not in open_descriptors().values()

        in_child(lambda: None)
        in_child(collect)
        veth.send(numbered(5, start=5))
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
        veth.send(numbered(10, start=10))
        child.join()
        assert child.exitcode == 0
        await _receive(capture, list(range(20)))
        await capture.aclose()


async def dump_in_parent(savefile: str) -> None:
    """The parent's dump goes on, whatever the child does with its copy."""
    with veth_pair() as veth:
        capture = await open_live(veth.near)
        dump = await capture.live_dump(savefile)

        def use() -> None:
            nonlocal capture, dump
            for function in (dump.wait, dump.stop):
                try:
                    _step(function())
                except RuntimeError as error:
                    if "fork" not in str(error):
                        raise
                else:
                    raise AssertionError(function)
            warnings.simplefilter("ignore", ResourceWarning)
            del capture, dump
            gc.collect()

        for start in range(0, 100, 10):
            veth.send(numbered(10, start=start))
            in_child(use)
            child = multiprocessing.get_context("fork").Process(target=gc.collect)
            child.start()
            child.join()
            assert child.exitcode == 0
        with anyio.fail_after(10):
            while dump.packets < 100:
                await anyio.lowlevel.checkpoint()
        assert not dump.ended
        assert (await dump.stop()).packets == 100
        await capture.aclose()


async def _receive(capture: aiopcap.LiveCapture, expected: list[int]) -> None:
    seen = []
    with anyio.fail_after(10):
        async for packet in capture:
            seen.append(number_of(packet.data))
            if len(seen) == len(expected):
                break
    assert seen == expected, seen


if __name__ == "__main__":
    main(use_in_child, use_in_child_with_packets_in_hand, end_in_child, dump_in_parent)
