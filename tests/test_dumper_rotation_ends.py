"""Cancels, forks, lost privileges and failing disks under a dumper that rotates."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope

import aiopcap
from aiopcap import Packet, Rotation
from tests.dumping import (
    RECORD,
    batch_of,
    flat,
    names,
    numbers_in,
    packets,
    send_all,
)
from tests.reading import checkpoints
from tests.support.pcapfiles import Record, pcap_bytes
from tests.support.programs import run_python
from tests.support.resources import open_descriptors
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.anyio


ways = pytest.mark.parametrize("way", ["send", "send_batch"])


@ways
async def test_a_cancelled_sender_loses_and_doubles_nothing(way: str, tmp_path: Path) -> None:
    batch = await batch_of(40)
    for turns in (*range(10), *range(10, 200, 23)):
        sent = 0
        async with await aiopcap.dump_open(
            tmp_path / f"{turns}-{{n:04}}",
            linktype=1,
            rotate=Rotation(max_packets=7),
            buffer_bytes=2 * 50 * RECORD,
        ) as dumper:
            with CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def cancel(scope: CancelScope = scope, turns: int = turns) -> None:
                        await checkpoints(turns)
                        scope.cancel()

                    tasks.start_soon(cancel)
                    while True:
                        if way == "send_batch":
                            await dumper.send_batch(batch)
                            sent += 40
                        else:
                            await dumper.send(batch[sent % 40])
                            sent += 1
        found = flat(numbers_in(dumper.files))
        assert found == [number % 40 for number in range(len(found))]
        assert len(found) - sent in (0, 1 if way == "send" else 40)


async def test_nothing_stays_open(tmp_path: Path) -> None:
    before = open_descriptors()
    async with await aiopcap.dump_open(
        tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=3)
    ) as dumper:
        await send_all(dumper, packets(100))
        await dumper.flush(sync=True)
        fds = open_descriptors().keys() - before.keys()
        assert len(fds) == 2
        assert not any(map(os.get_inheritable, fds))
    assert open_descriptors() == before


async def test_a_cancelled_opening_leaves_nothing_unfinished(tmp_path: Path) -> None:
    before = open_descriptors()
    for turns in range(12):
        with CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel(scope: CancelScope = scope, turns: int = turns) -> None:
                    await checkpoints(turns)
                    scope.cancel()

                tasks.start_soon(cancel)
                async with await aiopcap.dump_open(
                    tmp_path / "trace.pcap", linktype=1, rotate=Rotation(max_packets=3)
                ):
                    pass
                tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        while list(tmp_path.glob(".*")) or open_descriptors().keys() - before.keys():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_forked_child_finishes_no_file_of_its_parent(backend: str, tmp_path: Path) -> None:
    run_python(
        """
        import gc, os, sys, warnings
        import anyio, aiopcap

        async def main():
            dumper = await aiopcap.dump_open(
                sys.argv[1], linktype=1, rotate=aiopcap.Rotation(max_packets=10)
            )
            async def send(start):
                for number in range(start, start + 15):
                    await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
            await send(0)
            await dumper.flush()
            before = sorted(os.listdir(os.path.dirname(sys.argv[1])))
            child = os.fork()
            if child == 0:
                try:
                    del dumper
                    gc.collect()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert sorted(os.listdir(os.path.dirname(sys.argv[1]))) == before
            await send(15)
            await dumper.aclose()

        warnings.simplefilter("ignore")
        anyio.run(main, backend=sys.argv[2])
        """,
        str(tmp_path / "trace.pcap"),
        backend,
    )
    assert numbers_in(sorted(tmp_path.iterdir())) == [
        [*range(10)],
        [*range(10, 20)],
        [*range(20, 30)],
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives root up")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_goes_on_without_privileges_and_elsewhere(backend: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)  # nobody may not even come here
    folder = tmp_path / "captures"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    run_python(
        """
        import os, sys
        import anyio, aiopcap

        async def main():
            os.umask(0o077)
            os.chdir(sys.argv[1])
            async with await aiopcap.dump_open(
                "captures/trace.pcap",
                linktype=1,
                rotate=aiopcap.Rotation(max_packets=10, keep=4),
            ) as dumper:
                async def send(start, count):
                    for number in range(start, start + count):
                        await dumper.send(aiopcap.Packet(bytes(14) + number.to_bytes(8, "big")))
                await send(0, 15)
                await dumper.flush(sync=True)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                os.chdir("/")
                try:
                    os.listdir(sys.argv[1])
                except PermissionError:
                    pass
                else:
                    raise AssertionError("still root")
                await send(15, 40)
                await dumper.flush(sync=True)
            assert len(dumper.files) == 4

        anyio.run(main, backend=sys.argv[2])
        """,
        str(tmp_path),
        backend,
    )
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"trace-0000{n}.pcap" for n in (3, 4, 5, 6)]
    assert numbers_in(files) == [
        [*range(20, 30)],
        [*range(30, 40)],
        [*range(40, 50)],
        [*range(50, 55)],
    ]
    assert {path.stat().st_uid for path in files} == {65534}


# -- errors ----------------------------------------------------------------------------------------


async def send_and_flush(dumper: aiopcap.Dumper, items: list[Packet]) -> None:
    for packet in items:
        await dumper.send(packet)
        await dumper.flush()


async def send_until_refused(dumper: aiopcap.Dumper, items: list[Packet]) -> OSError:
    with pytest.raises(aiopcap.SavefileWriteError) as caught:
        await send_and_flush(dumper, items)
    with pytest.raises(aiopcap.SavefileWriteError):
        await dumper.send(items[0])
    await dumper.aclose()
    return caught.value


async def test_a_disk_that_is_full_leaves_whole_files(tmp_path: Path) -> None:
    before = open_descriptors()
    with small_disk(tmp_path, 64 * 1024) as folder:
        dumper = await aiopcap.dump_open(
            folder / "trace.pcap", linktype=1, rotate=Rotation(max_packets=100)
        )
        error = await send_until_refused(dumper, packets(2000))
        assert error.errno == errno.ENOSPC
        assert "trace-0" in str(error.filename)
        files = [folder / path.name for path in dumper.files]
        assert names(folder) == [path.name for path in files]
        found = numbers_in(files)
        assert {len(numbers) for numbers in found[:-1]} == {100}
        assert flat(found) == list(range(sum(map(len, found))))
        assert sum(map(len, found)) > 400
    assert open_descriptors() == before


async def test_keeping_few_files_lasts_for_ever_on_a_small_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64 * 1024) as folder:
        async with await aiopcap.dump_open(
            folder / "trace.pcap",
            linktype=1,
            rotate=Rotation(max_bytes=12 * 1024, keep=3),
            buffer_bytes=4096,
        ) as dumper:
            for packet in packets(5000):
                await dumper.send(packet)
        last = numbers_in([folder / path.name for path in dumper.files])
        assert flat(last)[-1] == 4999


async def test_a_folder_that_was_removed(tmp_path: Path) -> None:
    before = open_descriptors()
    folder = tmp_path / "folder"
    folder.mkdir()
    dumper = await aiopcap.dump_open(
        folder / "trace.pcap", linktype=1, rotate=Rotation(max_packets=10)
    )
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    error = await send_until_refused(dumper, packets(100))
    assert error.errno == errno.ENOENT
    assert open_descriptors() == before


async def test_a_folder_that_was_removed_is_noticed_at_the_latest_when_closing(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    dumper = await aiopcap.dump_open(
        folder / "trace.pcap", linktype=1, rotate=Rotation(max_packets=10)
    )
    await dumper.send(packets(1)[0])
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(aiopcap.SavefileWriteError):
        await dumper.aclose()
    await dumper.aclose()


async def test_a_name_that_becomes_too_long(tmp_path: Path) -> None:
    # The temporary name is the longest: six characters more, and 255 is the system's limit.
    pattern = "x" * (255 - 6 - 1) + "{n}"
    dumper = await aiopcap.dump_open(tmp_path / pattern, linktype=1, rotate=Rotation(max_packets=1))
    error = await send_until_refused(dumper, packets(20))
    assert error.errno == errno.ENAMETOOLONG
    assert numbers_in(dumper.files) == [[number] for number in range(9)]
    assert set(tmp_path.iterdir()) == set(dumper.files)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing/trace.pcap", FileNotFoundError),
        ("x" * 300, OSError),
        ("file/trace.pcap", NotADirectoryError),
    ],
)
async def test_what_cannot_be_opened_is_known_at_once(
    name: str, error: type[OSError], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    before = open_descriptors()
    with pytest.raises(error):
        await aiopcap.dump_open(tmp_path / name, linktype=1, rotate=Rotation(max_packets=1))
    assert names(tmp_path) == ["file"]
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs max_bytes, max_packets or max_seconds"),
        ({"keep": 3}, "needs max_bytes, max_packets or max_seconds"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_packets": -1}, "max_packets"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"max_seconds": float("nan")}, "max_seconds"),
        ({"max_packets": 1, "keep": 0}, "keep"),
    ],
)
def test_what_is_no_rotation(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rotation(**options)
    with pytest.raises(TypeError):
        Rotation(max_packets=1.5)  # type: ignore[arg-type] # what it is about


@pytest.mark.parametrize("pattern", ["{}.pcap", "{m}.pcap", "{n:x}.pcap", "{n", "n}", "%D.pcap"])
async def test_what_is_no_pattern(pattern: str, tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(ValueError, match="file name"):
        await aiopcap.dump_open(tmp_path / pattern, linktype=1, rotate=Rotation(max_packets=1))
    assert names(tmp_path) == []
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", ["descriptor", "standard output", "file object", "append"])
async def test_what_cannot_rotate(kind: str, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        targets = {"descriptor": file.fileno(), "standard output": "-", "file object": file}
        open_it: Callable[..., Any] = functools.partial(
            aiopcap.dump_open, targets.get(kind, tmp_path / "file"), linktype=1
        )
        with pytest.raises(ValueError, match="rotation"):
            await open_it(rotate=Rotation(max_packets=1), append=kind == "append")
    assert (tmp_path / "file").read_bytes() == b""


async def test_a_captures_own_dumper_rotates_too(tmp_path: Path) -> None:
    content = pcap_bytes([Record(0, packet.data) for packet in packets(25)])
    async with (
        await aiopcap.open_offline(content) as capture,
        await capture.dump_open(tmp_path / "{n}", rotate=Rotation(max_packets=10)) as dumper,
    ):
        async for batch in capture.batches():
            await dumper.send_batch(batch)
    assert numbers_in(dumper.files) == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]
