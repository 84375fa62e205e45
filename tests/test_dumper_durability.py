"""What is on the disk, and when: bytes and names that were synced, files of processes that died."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

import aiopcap
from aiopcap import Rotation
from tests.dumping import HEADER, RECORD, packets, send_all, written
from tests.reading import read_all
from tests.support.frames import number_of
from tests.support.oracle import read_pcap
from tests.support.programs import run_python
from tests.support.witnesses import require_program

pytestmark = pytest.mark.anyio

RUNS = 25


class Syncs:
    """Calls of fsync(2), each with the name of what it was for, and the length of a file."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int | None]] = []
        self._fsync = os.fsync

    def __call__(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        self.calls.append((path.name, None if path.is_dir() else os.fstat(fd).st_size))
        self._fsync(fd)

    def take(self) -> list[tuple[str, int | None]]:
        """The calls since this was last asked."""
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """Watch what is synced."""
    syncs = Syncs()
    monkeypatch.setattr(os, "fsync", syncs)
    return syncs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a name."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


async def test_a_new_file_is_synced_with_its_name_once(syncs: Syncs, folder: Path) -> None:
    async with await aiopcap.dump_open(folder / "new", linktype=1) as dumper:
        await send_all(dumper, packets(3))
        await dumper.flush()
        assert syncs.take() == []
        await dumper.flush(sync=True)
        assert syncs.take() == [("new", HEADER + 3 * RECORD), ("folder", None)]
        await send_all(dumper, packets(3))
        await dumper.flush(sync=True)
        assert syncs.take() == [("new", HEADER + 6 * RECORD)]
    assert syncs.take() == []


async def test_an_old_name_needs_no_sync(syncs: Syncs, folder: Path) -> None:
    (folder / "old").touch()
    for append in False, True:
        async with await aiopcap.dump_open(folder / "old", linktype=1, append=append) as dumper:
            await dumper.flush(sync=True)
        assert syncs.take() == [("old", HEADER)]


async def test_a_new_name_that_is_appended_to_is_synced(syncs: Syncs, folder: Path) -> None:
    async with await aiopcap.dump_open(folder / "new", linktype=1, append=True) as dumper:
        await dumper.flush(sync=True)
    assert syncs.take() == [("new", HEADER), ("folder", None)]


async def test_all_files_of_a_rotation_are_synced(syncs: Syncs, folder: Path) -> None:
    whole = HEADER + 2 * RECORD
    async with await aiopcap.dump_open(
        folder / "{n}", linktype=1, rotate=Rotation(max_packets=2)
    ) as dumper:
        await send_all(dumper, packets(5))
        await dumper.flush()
        assert syncs.take() == []  # one who does not ask does not pay
        await dumper.flush(sync=True)
        finished = [("1", whole), ("2", whole)]
        assert syncs.take() == [*finished, (".3.part", HEADER + RECORD), ("folder", None)]
        # Before such a file gets its name it is on the disk, as one had been asked for.
        await send_all(dumper, packets(3))
        await dumper.flush()
        assert syncs.take() == [(".3.part", whole)]
        await dumper.flush(sync=True)
        assert syncs.take() == [(".4.part", whole), ("folder", None)]
        dumper.files[0].unlink()
    assert syncs.take() == [(".4.part", whole)]


async def test_a_finished_file_that_is_gone_needs_no_sync(syncs: Syncs, folder: Path) -> None:
    async with await aiopcap.dump_open(
        folder / "{n}", linktype=1, rotate=Rotation(max_packets=1)
    ) as dumper:
        await send_all(dumper, packets(3))
        await dumper.flush()
        dumper.files[0].unlink()
        await dumper.flush(sync=True)
    assert [name for name, _ in syncs.take()][:3] == ["2", ".3.part", "folder"]


def test_a_folder_that_may_be_written_but_not_read(folder: Path) -> None:
    # Its name cannot be synced then, as it cannot be opened.
    run_python(
        """
        import os, sys
        import anyio, aiopcap

        async def main():
            os.chdir(sys.argv[1])
            os.chmod(".", 0o300)
            if os.getuid() == 0:
                os.chown(".", 65534, 65534)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            async with await aiopcap.dump_open("new", linktype=1) as dumper:
                await dumper.flush(sync=True)

        anyio.run(main)
        """,
        str(folder),
    )
    folder.chmod(0o700)
    assert written((folder / "new").read_bytes()) == []


# Forks dumpers and kills each at some moment; prints how many packets each was promised.
KILLER = r"""
import os, random, select, signal, sys, time
import anyio, aiopcap

pattern, kind, backend, runs = sys.argv[1:]
KINDS = {
    "new": {},
    "appended": {"append": True},
    "rotated": {"rotate": aiopcap.Rotation(max_packets=300)},
}

async def dump(run, promises, chance):
    path = pattern.replace("RUN", str(run))
    dumper = await aiopcap.dump_open(path, linktype=1, **KINDS[kind])
    number = 0
    while True:
        for _ in range(chance.randrange(3000)):
            begin = bytes(14) + number.to_bytes(8, "big") + run.to_bytes(8, "big")
            await dumper.send(aiopcap.Packet(begin + bytes(chance.randrange(1200))))
            number += 1
        if chance.random() < 0.5:
            await dumper.flush()
        if chance.random() < 0.5:
            await dumper.flush(sync=True)
            os.write(promises, b"%d\n" % number)

anyio.run(anyio.sleep, 0, backend=backend)  # loads what each child would have to
for run in range(int(runs)):
    chance = random.Random(run)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        anyio.run(dump, run, writer, chance, backend=backend)
    os.close(writer)
    if run % 2:  # on a slow machine no other may have come to a promise
        select.select([reader], [], [], 30)
    time.sleep(chance.uniform(0.005, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    promised = b"0\n"
    while data := os.read(reader, 65536):
        promised += data
    os.close(reader)
    print(promised.split()[-1].decode())
"""


@pytest.fixture(params=["asyncio", "trio"])
def kill(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], list[int]]:
    """Run dumpers, each in a process that is killed; give what each had promised."""

    def run(kind: str, pattern: str) -> list[int]:
        printed = run_python(KILLER, str(tmp_path / pattern), kind, request.param, str(RUNS))
        promised = [int(line) for line in printed.split()]
        assert len(promised) == RUNS
        assert any(promised)
        return promised

    return run


class Sent(NamedTuple):
    """What a packet says of itself."""

    run: int
    number: int


def read_back(path: Path) -> tuple[list[Sent], bool]:
    """The packets of a file, by two readers, and whether it ends with a whole one."""
    outcome = anyio.run(read_all, path)
    assert outcome.end in {"complete", "truncated"}
    datas = [packet.data for packet in outcome.packets]
    if path.stat().st_size >= HEADER:
        argv = [require_program("tcpdump"), "--nano", "-r", "-", "-w", "-"]
        done = subprocess.run(argv, input=path.read_bytes(), capture_output=True, check=False)
        assert [record.data for record in read_pcap(done.stdout).records] == datas
    sent = [Sent(int.from_bytes(data[22:30], "big"), number_of(data)) for data in datas]
    return sent, outcome.end == "complete"


def without_gap(run: int, found: list[Sent], promised: int) -> bool:
    """Whether these are a run's packets from the first on, and all that were promised."""
    return found == [Sent(run, number) for number in range(len(found))] and len(found) >= promised


def test_a_killed_process_leaves_what_it_had_promised(
    kill: Callable[[str, str], list[int]], tmp_path: Path
) -> None:
    for run, promised in enumerate(kill("new", "RUN.pcap")):
        path = tmp_path / f"{run}.pcap"
        found = read_back(path)[0] if path.exists() else []
        assert without_gap(run, found, promised)


def test_a_file_goes_on_after_any_number_of_kills(
    kill: Callable[[str, str], list[int]], tmp_path: Path
) -> None:
    promised = kill("appended", "file.pcap")
    found, _ = read_back(tmp_path / "file.pcap")
    assert [sent.run for sent in found] == sorted(sent.run for sent in found)
    for run in range(RUNS):
        assert without_gap(run, [sent for sent in found if sent.run == run], promised[run])


def test_a_killed_rotation_leaves_whole_files_and_one_that_was_being_written(
    kill: Callable[[str, str], list[int]], tmp_path: Path
) -> None:
    finished = 0
    for run, promised in enumerate(kill("rotated", "RUN-{n:05}.pcap")):
        found: list[Sent] = []
        for path in sorted(tmp_path.glob(f"{run}-*.pcap")):
            sent, whole = read_back(path)
            assert whole
            assert len(sent) == 300
            found += sent
            finished += 1
        parts = list(tmp_path.glob(f".{run}-*.pcap.part"))
        assert len(parts) <= 1
        for path in parts:
            found += read_back(path)[0]
        assert without_gap(run, found, promised)
    assert finished > RUNS
