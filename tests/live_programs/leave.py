"""Programs that end with captures and dumpers open, in several ways."""

import sys

import anyio
import anyio.lowlevel

import aiopcap
from aiopcap import LinkType, open_live
from tests.live_programs import main
from tests.support.frames import frame, numbered
from tests.support.veth import Veth

_kept: list[object] = []


async def with_everything_open(savefile: str) -> None:
    """The interpreter ends while module globals hold captures, a loop over one, and a dumper."""
    veth = Veth()
    _kept.append(veth)
    for immediate in (False, True):
        capture = await open_live(veth.near, immediate=immediate)
        veth.send(numbered(5))
        with anyio.fail_after(10):
            _kept.extend((capture, await capture.receive(), capture.batches()))
    _kept.append(await open_live("any"))
    dumper = await aiopcap.dump_open(savefile, linktype=LinkType.EN10MB)
    await dumper.send(aiopcap.Packet(frame()))
    _kept.append(dumper)
    # A cycle, so that the garbage collector finds it last.
    _kept.append(_kept)


async def with_a_dump(savefile: str) -> None:
    """The interpreter ends while a thread writes what a capture sees."""
    veth = Veth()
    capture = await open_live(veth.near)
    dump = await capture.live_dump(savefile)
    _kept.extend((veth, capture, dump))
    veth.send(numbered(100))
    with anyio.fail_after(10):
        while dump.packets < 100:
            await anyio.lowlevel.checkpoint()


class _LeaveError(Exception):
    pass


async def with_a_task_cancelled(_: str) -> None:
    """The program ends after a reader was cancelled, and nobody closed its capture."""
    veth = Veth()
    _kept.append(veth)
    capture = await open_live(veth.near)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(capture.receive)
            await anyio.wait_all_tasks_blocked()
            raise _LeaveError
    except* _LeaveError:
        pass


async def by_interrupt(device: str) -> None:
    """Read until SIGINT comes, which is left to do what it does by default."""
    try:
        async with await open_live(device) as capture:
            sys.stdout.write("reading\n")
            sys.stdout.flush()
            async for _ in capture:
                pass
    finally:
        try:
            capture.receive_nowait()
        except anyio.ClosedResourceError:
            sys.stdout.write("closed\n")


if __name__ == "__main__":
    main(with_everything_open, with_a_dump, with_a_task_cancelled, by_interrupt)
