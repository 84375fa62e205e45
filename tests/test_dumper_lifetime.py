"""Closing, forgetting and forking a dumper."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import aiopcap
from aiopcap import InterfaceStatistics, Packet
from tests.dumping import HEADER, batch_of, packets, written
from tests.support.programs import run_python
from tests.support.resources import open_descriptors, resources

pytestmark = pytest.mark.anyio


async def _end_file(dumper: aiopcap.Dumper) -> None:
    dumper.end_file()


USES: dict[str, Callable[[aiopcap.Dumper, aiopcap.PacketBatch], Any]] = {
    "send": lambda dumper, _: dumper.send(Packet(b"x")),
    "send_batch": lambda dumper, batch: dumper.send_batch(batch),
    "send_statistics": lambda dumper, _: dumper.send_statistics("lan", InterfaceStatistics(0)),
    "end_file": lambda dumper, _: _end_file(dumper),
    "flush": lambda dumper, _: dumper.flush(),
    "flush and sync": lambda dumper, _: dumper.flush(sync=True),
}


@pytest.mark.parametrize("name", USES)
async def test_nothing_works_on_a_closed_dumper(name: str, tmp_path: Path) -> None:
    batch = await batch_of(3)
    dumper = await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1)
    await dumper.aclose()
    for _ in range(2):
        with pytest.raises(anyio.ClosedResourceError):
            await USES[name](dumper, batch)
    assert dumper.tell() == HEADER  # what was written stays known
    await dumper.aclose()


async def test_every_public_method_is_tried_above() -> None:
    methods = {
        name
        for name, member in inspect.getmembers(aiopcap.Dumper, inspect.isfunction)
        if not name.startswith("_")
    } - {"aclose", "extra", "tell"}
    assert methods == {name.split()[0] for name in USES}


async def test_closing_while_others_send(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    sent = 0
    dumper = await aiopcap.dump_open(path, linktype=1)

    async def send() -> None:
        nonlocal sent
        try:
            for packet in packets(100_000):
                await dumper.send(packet)
                sent += 1
        except anyio.ClosedResourceError:
            return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while sent < 1000:
            await checkpoint()
        await dumper.aclose()
    assert sent < 100_000
    assert written(path.read_bytes()) == list(range(sent))


async def test_a_forgotten_dumper_warns_and_completes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    before = open_descriptors()
    kept = [await aiopcap.dump_open(path, linktype=1)]
    for packet in packets(100):
        await kept[0].send(packet)
    with pytest.warns(ResourceWarning, match=r"Unclosed.*file\.pcap"):
        forget(kept)
    assert written(path.read_bytes()) == list(range(100))
    assert open_descriptors() == before


def forget(kept: list[aiopcap.Dumper]) -> None:
    kept.clear()
    gc.collect()


@pytest.mark.memory
async def test_two_hundred_times_opened_and_closed_leave_nothing(tmp_path: Path) -> None:
    batch = await batch_of(100)

    async def once() -> None:
        async with await aiopcap.dump_open(tmp_path / "file.pcap", linktype=1) as dumper:
            await dumper.send_batch(batch)
        dumper = await aiopcap.dump_open("/dev/full", linktype=1)
        await dumper.send_batch(batch)
        with pytest.raises(aiopcap.SavefileWriteError):
            await dumper.aclose()

    for _ in range(20):
        await once()
    before = resources()
    for _ in range(200):
        await once()
    after = resources()
    assert after.descriptors == before.descriptors
    assert after.mappings <= before.mappings + 10
    # Less than a tenth of the buffers of all of them.
    assert after.resident_bytes - before.resident_bytes < 40 * 1024 * 1024


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("ending", ["os._exit", "collected", "closed"])
def test_a_forked_child_writes_nothing_a_second_time(
    backend: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pcap"
    printed = run_python(
        """
        import gc, os, sys, warnings
        import anyio, aiopcap

        async def main():
            dumper = await aiopcap.dump_open(sys.argv[1], linktype=1)
            for number in range(100):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
            child = os.fork()
            if child == 0:
                try:
                    try:
                        dumper.send(aiopcap.Packet(b"child")).send(None)
                    except StopIteration:
                        os.write(1, b"the child may send")
                    except RuntimeError:
                        pass
                    if sys.argv[3] == "closed":
                        try:
                            await dumper.aclose()
                        except RuntimeError:
                            pass
                    if sys.argv[3] == "collected":
                        del dumper
                        gc.collect()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            for number in range(100, 120):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
            await dumper.aclose()

        warnings.simplefilter("ignore")
        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        ending,
    )
    assert printed == b""
    assert written(path.read_bytes()) == list(range(120))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_forgets_its_dumper_completes_the_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    run_python(
        """
        import sys, warnings
        import anyio, aiopcap

        warnings.simplefilter("ignore", ResourceWarning)

        async def main():
            global dumper
            dumper = await aiopcap.dump_open(sys.argv[1], linktype=1)
            for number in range(100):
                await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))

        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        timeout=20,
    )
    assert written(path.read_bytes()) == list(range(100))
