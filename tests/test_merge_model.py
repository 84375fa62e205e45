"""Merges of any files, read in any way and cancelled anywhere, against heapq and mergecap."""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiopcap
from tests.reading import SlowFile, checkpoints, pipe
from tests.support.oracle import read_pcap
from tests.support.pcapfiles import Record, pcap_bytes
from tests.support.witnesses import mergecap

pytestmark = pytest.mark.anyio

Key = tuple[int, bytes, str | None]
Read = Callable[[aiopcap.Merge, list[Key]], Coroutine[Any, Any, None]]

# The gaps between packets: none, so that times are equal; ones that mix the files; long ones, which
# give long runs; and steps back, as of a clock that was set.
STEPS = st.one_of(
    st.lists(st.integers(0, 3), max_size=150),
    st.lists(st.sampled_from([0, 1, 1000]), max_size=150),
    st.lists(st.integers(-5, 9), max_size=150),
    st.builds(lambda length: [1] * length, st.integers(0, 400)),
)
FILES = st.lists(STEPS, min_size=1, max_size=5)


def records_of(source: int, steps: list[int], *, ties: bool = True) -> list[Record]:
    """Packets of different sizes, which say their source and number; times are in microseconds.

    Without ties, packets of two files have never the same time.
    """
    records, now = [], 1_000_000 + (0 if ties else source)
    for number, step in enumerate(steps):
        now += step if ties else 8 * step
        data = bytes([source]) + number.to_bytes(2, "big") + bytes(number % 50)
        records.append(Record(now * 1000, data))
    return records


def expected(files: list[list[Record]]) -> list[Key]:
    """What the standard library merges them to."""
    named = ([(r.timestamp_ns, r.data, f"{k}") for r in file] for k, file in enumerate(files))
    return list(heapq.merge(*named, key=time_of))


def time_of(key: Key) -> int:
    return key[0]


def key(packet: aiopcap.Packet) -> Key:
    return (packet.timestamp_ns, packet.data, packet.interface)


async def one_by_one(merge: aiopcap.Merge, got: list[Key]) -> None:
    async for packet in merge:
        got.append(key(packet))  # noqa: PERF401 - those before a cancel count


async def received(merge: aiopcap.Merge, got: list[Key]) -> None:
    with suppress(anyio.EndOfStream):
        while True:
            got.append(key(await merge.receive()))


async def in_batches(merge: aiopcap.Merge, got: list[Key]) -> None:
    async for batch in merge.batches():
        got.extend(map(key, batch))


async def in_turns(merge: aiopcap.Merge, got: list[Key]) -> None:
    while True:
        async for packet in merge:
            got.append(key(packet))
            break
        else:
            return
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            got.append(key(merge.receive_nowait()))
        async for batch in merge.batches(3):
            got.extend(map(key, batch))
            break


READS = [one_by_one, received, in_batches, in_turns]


@contextmanager
def sources(kind: str, contents: list[bytes], folder: Path) -> Iterator[list[Any]]:
    """The same files of one kind; of "mixed", each is of another."""
    with ExitStack() as stack:
        given: list[Any] = []
        for number, content in enumerate(contents):
            match (
                ["memory", "path", "pipe", "file object"][number % 4] if kind == "mixed" else kind
            ):
                case "memory":
                    given.append(content)
                case "path":
                    given.append(folder / f"{number}.pcap")
                    given[-1].write_bytes(content)
                case "file object":
                    given.append(SlowFile(content, at_once=311))
                case "pipe":
                    given.append(stack.enter_context(fed(content)))
        yield given


@contextmanager
def fed(content: bytes) -> Iterator[int]:
    """A pipe that a thread writes into, a few bytes a time."""

    def feed() -> None:
        with suppress(BrokenPipeError):
            for start in range(0, len(content), 311):
                os.write(writer, content[start : start + 311])
        os.close(writer)

    with pipe() as (reader, writer):
        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield reader
        finally:
            thread.join()


async def open_merge(given: list[Any]) -> aiopcap.Merge:
    captures = [await aiopcap.open_offline(source) for source in given]
    return aiopcap.merge(*captures, names=[f"{k}" for k in range(len(captures))])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=FILES,
    kind=st.sampled_from(["memory", "path", "pipe", "file object", "mixed"]),
    read=st.sampled_from(READS),
    cancels=st.lists(st.integers(0, 12), max_size=6),
)
async def test_as_the_standard_library_merges(
    steps: list[list[int]],
    kind: str,
    read: Read,
    cancels: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = [records_of(source, of) for source, of in enumerate(steps)]
    contents = [pcap_bytes(file, precision="nano") for file in files]
    got: list[Key] = []
    with sources(kind, contents, tmp_path_factory.getbasetemp()) as given:
        async with await open_merge(given) as merge:
            for turns in cancels:
                await read_and_cancel(merge, read, got, turns)
            await read(merge, got)
    assert got == expected(files)


async def read_and_cancel(merge: aiopcap.Merge, read: Read, got: list[Key], turns: int) -> None:
    """Read until the event loop has turned so often."""
    with CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await checkpoints(turns)
                scope.cancel()

            tasks.start_soon(cancel)
            await read(merge, got)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", ["memory", "path", "pipe", "file object", "mixed"])
async def test_cancelled_after_any_number_of_turns(kind: str, read: Read, tmp_path: Path) -> None:
    # One turn more each time at first; later ones differ less.
    files = [records_of(source, [source + 1] * 20) for source in range(4)]
    contents = [pcap_bytes(file, precision="nano") for file in files]
    for turns in (*range(25), *range(25, 151, 25)):
        got: list[Key] = []
        with sources(kind, contents, tmp_path) as given:
            async with await open_merge(given) as merge:
                for _ in range(4):
                    await read_and_cancel(merge, read, got, turns)
                await read(merge, got)
        assert got == expected(files), turns


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=FILES)
async def test_as_mergecap_merges(
    steps: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Without ties, for which mergecap has an order of its own.
    folder = tmp_path_factory.mktemp("merge")
    paths = [folder / f"{source}.pcap" for source in range(len(steps))]
    for source, (path, of) in enumerate(zip(paths, steps, strict=True)):
        path.write_bytes(pcap_bytes(records_of(source, of, ties=False), precision="nano"))
    theirs, ours = folder / "theirs.pcap", folder / "ours.pcap"
    mergecap(theirs, *paths)
    dumper = await aiopcap.dump_open(ours, linktype=aiopcap.LinkType.EN10MB)
    async with await open_merge([*paths]) as merge, dumper:
        async for batch in merge.batches():
            await dumper.send_batch(batch)
    assert read_pcap(ours.read_bytes()).records == read_pcap(theirs.read_bytes()).records
