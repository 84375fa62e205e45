"""`findalldevs` with a source: the savefiles of a folder, and devices by their source strings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import Device, DeviceFlags, SourceString, SourceType, findalldevs
from aiopcap._core.folder import savefiles_in

from .support.event_loop import loop_lag
from .support.frames import numbered
from .support.pcapfiles import MAGIC_NANO, pcap_bytes, pcap_header, records
from .support.pcapngfiles import block, enhanced_packet, interface, section
from .support.programs import run_python
from .support.resources import open_descriptors
from .support.veth import Veth
from .support.witnesses import require_program

pytestmark = pytest.mark.anyio

FRAMES = numbered(3)
PCAP = pcap_bytes(records(FRAMES))
UNKNOWN = block(0x0BAD, bytes(64 * 1024))

SAVEFILES = {
    "a.pcap": PCAP,
    "B.pcap": pcap_bytes(records(FRAMES), order="big"),
    "no packets": pcap_header(),
    "nanoseconds": pcap_header(magic=MAGIC_NANO),
    "cut in a record": PCAP[:-1],
    ".hidden": PCAP,
    "z.pcapng": section() + interface() + enhanced_packet(FRAMES[0], 0),
    "interface behind other blocks": section() + 8 * UNKNOWN + interface(),
    "%41 ?#[é]@:.pcap": PCAP,
    "line\nbreak": PCAP,
    "no interface": section(),
    "-": PCAP,
    "not-utf8-\udcff": PCAP,
}

OTHERS = {
    "empty": b"",
    "zeros": bytes(24),
    "words.pcap": b"This is not what its name says it is, by far.",
    "cut in its header": PCAP[:23],
    "interface behind much": section() + 32 * UNKNOWN + interface(),
}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with savefiles, and with what may be taken for some."""
    fill(tmp_path, SAVEFILES | OTHERS)
    (tmp_path / "folder.pcap").mkdir()
    (tmp_path / "folder.pcap" / "below.pcap").write_bytes(PCAP)
    (tmp_path / "link").symlink_to("a.pcap")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo.pcap")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
    return tmp_path


async def names(source: Any) -> list[str]:
    return [device.name for device in await findalldevs(source)]


# -- savefiles ----------------------------------------------------------------------------------


async def test_the_savefiles_of_a_folder(folder: Path) -> None:
    before = open_descriptors()
    assert await findalldevs(f"file://{folder}/") == [
        Device(
            f"file://{folder}/{name}",
            f"File '{folder}/{name}' on local host",
            (),
            DeviceFlags(0),
        )
        for name in sorted([*SAVEFILES, "link"])
    ]
    assert open_descriptors() == before


async def test_tcpdump_opens_the_same(folder: Path) -> None:
    require_program("tcpdump")
    found = set(await names(folder))
    for entry in folder.iterdir():
        # It takes a file without interfaces for none, and reads on for one as long as it takes.
        if not entry.is_file() or entry.name in {"interface behind much", "no interface"}:
            continue
        # It reads "-" from standard input; a path that begins with the folder is none.
        process = subprocess.run(
            ["tcpdump", "-r", os.fspath(entry), "-c", "1"], check=False, capture_output=True
        )
        opened = b"reading from file" in process.stderr
        assert (f"file://{entry}" in found) == opened, (entry, process.stderr)


async def test_what_is_listed_can_be_opened(folder: Path) -> None:
    empty = set()
    for source in await names(folder):
        async with await aiopcap.open(source) as capture:
            try:
                assert (await capture.receive()).data == FRAMES[0]
            except anyio.EndOfStream:
                empty.add(Path(source).name)
    assert empty == {
        "no packets",
        "no interface",
        "nanoseconds",
        "interface behind other blocks",
    }


@pytest.mark.parametrize("tool", ["gzip", "zstd", "xz", "lz4", "bzip2"])
async def test_compressed_savefiles_are_listed_when_they_can_be_opened(
    tmp_path: Path, tool: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    for name, content in {"good": PCAP, "words": OTHERS["words.pcap"]}.items():
        done = subprocess.run([tool, "-c"], input=content, capture_output=True, check=True)
        (tmp_path / name).write_bytes(done.stdout)
        (tmp_path / f"cut {name}").write_bytes(done.stdout[: len(done.stdout) // 2])
    openable = set()
    for path in tmp_path.iterdir():
        try:
            capture = await aiopcap.open(path)
        except aiopcap.SavefileError:
            continue
        await capture.aclose()
        openable.add(f"file://{path}")
    assert set(await names(tmp_path)) == openable


async def test_the_ways_to_name_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b%20"
    folder.mkdir()
    fill(folder, {"x": PCAP, "-": PCAP})
    monkeypatch.chdir(tmp_path)
    for source in (
        str(folder),
        f"{folder}/",
        f"file://{folder}",
        f"file://{folder}/",
        folder,
        anyio.Path(folder),
        SourceString(SourceType.FILE, name=str(folder)),
    ):
        assert await names(source) == [f"file://{folder}/-", f"file://{folder}/x"]
    for source in ("file://a b%20", "a b%20/", Path("a b%20")):
        assert await names(source) == ["file://a b%20/-", "file://a b%20/x"]
    monkeypatch.chdir(folder)
    for source in ("file://.", "./", Path()):
        # Not "file://-", which is standard input.
        assert await names(source) == ["file://./-", "file://./x"]


async def test_a_folder_without_savefiles(tmp_path: Path) -> None:
    assert await findalldevs(tmp_path) == []


async def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PCAP)
    for source in ("file://{}/missing", "{}/missing/"):
        with pytest.raises(FileNotFoundError, match="missing"):
            await findalldevs(source.format(tmp_path))
    for source in ("file://{}/file", "{}/file/"):
        with pytest.raises(NotADirectoryError):
            await findalldevs(source.format(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_may_not_be_read_is_left_out(tmp_path: Path, backend: str) -> None:
    fill(tmp_path, {"mine": PCAP, "secret": PCAP})
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "private").mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    program = """
        import os, sys, anyio, aiopcap
        os.chdir(sys.argv[2])
        anyio.run(anyio.sleep, 0, backend=sys.argv[1])  # imported while it can be
        os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
        async def main():
            print([device.name for device in await aiopcap.findalldevs("file://.")])
            try:
                await aiopcap.findalldevs("./private")
            except PermissionError:
                print("refused")
        anyio.run(main, backend=sys.argv[1])
        """
    found = run_python(program, backend, str(tmp_path)).decode()
    assert found == "['file://./mine']\nrefused\n"


async def test_the_loop_runs_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(PCAP)
    for number in range(1, 3000):
        os.link(tmp_path / "0", tmp_path / str(number))
    async with loop_lag(0.005) as lag:
        assert len(await findalldevs(tmp_path)) == 3000
    assert lag.count > 3


async def test_who_is_cancelled_leaves_no_thread_at_work(folder: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await findalldevs(folder)
    assert scope.cancelled_caught
    abandoned = threading.Event()
    abandoned.set()
    assert savefiles_in(os.fspath(folder), abandoned) == []


# -- devices ------------------------------------------------------------------------------------


async def test_the_devices_of_this_host(veth: Veth) -> None:
    plain = {f"rpcap://{device.name}": device for device in await findalldevs()}
    found = {device.name: device for device in await findalldevs("rpcap://")}
    assert {f"rpcap://{veth.near}", "rpcap://lo", "rpcap://any"} <= found.keys()
    for name in found.keys() & plain.keys():
        shown = plain[name].description or plain[name].name
        assert found[name].description == f"Network adapter '{shown}' on local host"
        assert found[name].addresses == plain[name].addresses
    async with await aiopcap.open(f"rpcap://{veth.near}") as capture:
        assert isinstance(capture, aiopcap.LiveCapture)
    local = SourceString(SourceType.LOCAL)
    assert "rpcap://lo" in await names(local)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["lo", "rpcap://lo", "captures"])
async def test_one_device_is_no_list(source: str) -> None:
    with pytest.raises(ValueError, match=r"is a device's name.*rpcap://.*file://"):
        await findalldevs(source)


@pytest.mark.parametrize("source", ["", "file://", "http://x/", "RPCAP://h/", "rpcap://[::1/"])
async def test_what_is_no_source(source: str) -> None:
    with pytest.raises(ValueError, match=r"empty|no folder|scheme|IP address"):
        await findalldevs(source)


@pytest.mark.parametrize("source", ["rpcap://h/", "rpcap://h:2002/e", "rpcaps://h/"])
async def test_other_hosts_are_refused(source: str) -> None:
    with pytest.raises(NotImplementedError, match="another host"):
        await findalldevs(source)


@pytest.mark.parametrize("source", [b"/tmp", 3])
async def test_what_names_nothing(source: Any) -> None:
    with pytest.raises(TypeError, match="source"):
        await findalldevs(source)
