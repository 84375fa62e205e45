"""`open` opens what a source string names, and the text alone decides what that is."""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import pytest

import aiopcap
from aiopcap import LiveCapture, OfflineCapture, SourceString, SourceType, open_live
from aiopcap._streams.opening import LiveKeywords

from .support.frames import numbered, udp_frame
from .support.pcapfiles import pcap_bytes, records
from .support.programs import run_python
from .support.veth import Veth
from .support_live import link, take

pytestmark = pytest.mark.anyio

FRAMES = numbered(3)
CONTENT = pcap_bytes(records(FRAMES))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a test's own, which relative paths begin in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dotted(veth: Veth) -> Iterator[str]:
    """A device with a name like a file's."""
    name = f"{veth.near[:8]}.pcap"

    def rename(old: str, new: str) -> None:
        veth.set_link(False)
        subprocess.run(["ip", "link", "set", old, "name", new], check=True)

    rename(veth.near, name)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


async def datas(source: Any) -> list[bytes]:
    """The packets of what has to be a savefile."""
    async with await aiopcap.open(source) as capture:
        assert isinstance(capture, OfflineCapture)
        return [packet.data async for packet in capture]


async def opened_device(source: Any) -> str:
    """The name of what has to be a device."""
    async with await aiopcap.open(source) as capture:
        assert isinstance(capture, LiveCapture)
        return capture.device


# -- savefiles ----------------------------------------------------------------------------------

NAMES = [
    "traffic.pcap",
    "lo",
    "-",
    "with space.pcap",
    "%41%2F.pcap",
    "a?b#c&d",
    "запись.pcap",
    "[::1]",
    "u:p@h",
    "file:",
    "rpcap:",
    "line\nbreak",
    os.fsdecode(b"not-utf8-\xff"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_a_savefile_of_any_name(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(CONTENT)
    named = SourceString(SourceType.FILE, name=str(path))
    for source in (path, Path(name), str(path), f"./{name}", f"file://{path}", named):
        assert await datas(source) == FRAMES
    if name != "-":
        assert await datas(f"file://{name}") == FRAMES


async def test_a_relative_path_behind_the_scheme(folder: Path) -> None:
    (folder / "localhost").mkdir()
    (folder / "localhost" / "x").write_bytes(CONTENT)
    assert await datas("file://localhost/x") == FRAMES
    assert await datas("localhost/x") == FRAMES


@pytest.mark.parametrize("source", ["file://{}", "{}", "file://{}/", "{}/"])
async def test_a_folder_is_no_savefile(folder: Path, source: str) -> None:
    with pytest.raises(IsADirectoryError):
        await aiopcap.open(source.format(folder))


@pytest.mark.parametrize(
    "source", ["file://missing", "./missing", Path("missing"), "file:/missing"]
)
async def test_a_missing_savefile(source: str | Path) -> None:
    with pytest.raises(FileNotFoundError):
        await aiopcap.open(source)


async def test_a_file_that_is_no_savefile(folder: Path) -> None:
    (folder / "x").write_bytes(bytes(24))
    with pytest.raises(aiopcap.SavefileError):
        await aiopcap.open("./x")


async def test_a_filter_of_a_savefile(folder: Path) -> None:
    (folder / "x").write_bytes(pcap_bytes(records([FRAMES[0], udp_frame(b"one"), FRAMES[1]])))
    async with await aiopcap.open("file://x", filter="udp") as capture:
        assert [packet.data async for packet in capture] == [udp_frame(b"one")]
        assert str(capture.filter) == "udp"


@pytest.mark.parametrize("source", ["file://x", "./x", Path("x")])
async def test_the_options_of_devices_do_not_fit_savefiles(source: str | Path) -> None:
    # Before anything is opened: the file does not exist.
    with pytest.raises(TypeError, match=r"snaplen, promisc: for devices only, and .*x is a"):
        await aiopcap.open(source, snaplen=65535, promisc=False)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_standard_input(backend: str) -> None:
    program = """
        import sys, anyio, aiopcap
        async def main():
            async with await aiopcap.open("file://-") as capture:
                print(len([packet async for packet in capture]))
        anyio.run(main, backend=sys.argv[1])
        """
    assert run_python(program, backend, standard_input=CONTENT) == b"3\n"


# -- devices ------------------------------------------------------------------------------------


async def test_a_device(veth: Veth, folder: Path) -> None:
    # Files of that name change nothing.
    (folder / veth.near).write_bytes(CONTENT)
    for source in (
        veth.near,
        f"rpcap://{veth.near}",
        f"RPCAP://{veth.near}",
        SourceString(SourceType.LOCAL, name=veth.near),
    ):
        async with await aiopcap.open(source) as capture:
            assert isinstance(capture, LiveCapture)
            veth.send(FRAMES)
            assert [packet.data for packet in await take(capture, 3)] == FRAMES


async def test_a_device_with_a_name_like_a_files(dotted: str, folder: Path) -> None:
    (folder / dotted).write_bytes(CONTENT)
    assert await opened_device(dotted) == dotted
    assert await opened_device(f"rpcap://{dotted}") == dotted
    assert await datas(f"./{dotted}") == FRAMES
    assert await datas(f"file://{dotted}") == FRAMES
    assert await datas(Path(dotted)) == FRAMES


@pytest.mark.net
async def test_all_devices() -> None:
    assert await opened_device("any") == "any"
    assert await opened_device("rpcap://lo") == "lo"


async def test_a_savefile_that_was_taken_for_a_device(folder: Path) -> None:
    (folder / "x.pcap").write_bytes(CONTENT)
    with pytest.raises(aiopcap.NoSuchDeviceError, match=r"x\.pcap") as caught:
        await aiopcap.open("x.pcap")
    (note,) = caught.value.__notes__
    assert note.endswith("file://x.pcap")


async def test_who_says_that_it_is_a_device_gets_no_advice() -> None:
    with pytest.raises(aiopcap.NoSuchDeviceError) as caught:
        await aiopcap.open("rpcap://no-such-device")
    assert not hasattr(caught.value, "__notes__")


async def test_options_and_filters_of_a_device(veth: Veth) -> None:
    source = f"rpcap://{veth.near}"
    async with await aiopcap.open(source, filter="udp", snaplen=50) as capture:
        assert isinstance(capture, LiveCapture)
        assert capture.snaplen == 50
        assert link(veth.near)["promiscuity"] == 1
        veth.send([*FRAMES, udp_frame(b"one")])
        assert (await take(capture, 1))[0].data == udp_frame(b"one")[:50]
    async with await aiopcap.open(source, promisc=False) as capture:
        assert capture.snaplen == 262144
        assert link(veth.near)["promiscuity"] == 0


async def test_a_warning_points_at_the_users_line(veth: Veth) -> None:
    with pytest.warns(aiopcap.PcapWarning, match="time stamp") as caught:
        capture = await aiopcap.open(veth.near, timestamp_type="adapter")
    await capture.aclose()
    assert [warning.filename for warning in caught] == [__file__]


def test_every_option_of_a_device_can_be_given() -> None:
    parameters = inspect.signature(open_live).parameters.values()
    hints = get_type_hints(open_live)
    assert get_type_hints(LiveKeywords) == {
        parameter.name: hints[parameter.name]
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "filter"
    }


async def test_an_option_that_nothing_has() -> None:
    options: dict[str, Any] = {"flags": 1}
    for source in ("lo", "file://x"):
        with pytest.raises(TypeError, match="flags"):
            await aiopcap.open(source, **options)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "empty"),
        ("rpcap://", "rpcap:// names no device"),
        ("file://", "file:// names no file"),
        ("http://x/y", "http://: the scheme"),
        ("rpcap://[::1/e", "IP address"),
        ("./a\0b", "null"),
        (SourceString(SourceType.FILE), "names no file"),
    ],
)
async def test_what_names_nothing(source: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        await aiopcap.open(source)


@pytest.mark.parametrize("source", ["rpcap://h/e", "rpcap:///e", "rpcaps://h", "rpcap://u:p@h/e"])
async def test_other_hosts_are_refused(source: str) -> None:
    for refused in (source, SourceString.parse(source)):
        with pytest.raises(NotImplementedError, match="another host") as caught:
            await aiopcap.open(refused)
        assert str(SourceString.parse(source)) in str(caught.value)


@pytest.mark.parametrize("source", [None, 0, b"lo", CONTENT], ids=["None", "0", "name", "content"])
async def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(TypeError, match="open_offline"):
        await aiopcap.open(source)


async def test_a_savefile_is_followed_and_a_device_is_not(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap_bytes(records(numbered(1))))
    async with await aiopcap.open(f"file://{path}", follow=True) as capture:
        await capture.receive()
        with anyio.move_on_after(0) as scope:
            await capture.receive()
        assert scope.cancelled_caught
    with pytest.raises(TypeError, match="savefiles only"):
        await aiopcap.open("rpcap://lo", follow=True)
