"""Savefiles by their paths, and paths that lead to none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from tests.reading import as_records, read_all
from tests.support.frames import numbered
from tests.support.pcapfiles import Record, pcap_bytes, records
from tests.support.programs import run_python
from tests.support.resources import open_descriptors

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(300))

CONTENT = pcap_bytes(PACKETS)

EXPECTED = [Record(packet.timestamp_ns, packet.data, 60) for packet in PACKETS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file.pcap"
    file.write_bytes(CONTENT)
    return file


@pytest.mark.parametrize("kind", [str, Path, anyio.Path])
async def test_a_path_of_any_kind(path: Path, kind: Callable[[Path], Any]) -> None:
    assert as_records((await read_all(kind(path))).packets) == EXPECTED


async def test_a_file_called_minus_is_read_by_its_path(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    path.rename("-")
    assert as_records((await read_all(Path("-"))).packets) == EXPECTED


async def test_a_name_that_is_no_utf8(path: Path) -> None:
    name = os.fsdecode(os.fsencode(path) + b"\xff\xfe")
    path.rename(name)
    assert as_records((await read_all(name)).packets) == EXPECTED
    os.truncate(name, 30)
    error = (await read_all(name)).error
    assert repr(str(error))  # printable somewhere, whatever the name


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing.pcap", FileNotFoundError),
        ("", IsADirectoryError),
        ("file.pcap/below", NotADirectoryError),
        ("x" * 300, OSError),
    ],
)
async def test_a_path_that_cannot_be_opened(path: Path, name: str, error: type[OSError]) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        await aiopcap.open_offline(path.parent / name)
    assert str(path.parent / name) in str(caught.value)
    assert open_descriptors() == before


async def test_a_path_with_a_nul_is_no_path() -> None:
    with pytest.raises(ValueError, match="null"):
        await aiopcap.open_offline("a\0b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without the right")
def test_a_file_without_the_permission_to_read_it() -> None:
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(CONTENT)
        file.flush()
        Path(file.name).chmod(0o600)
        printed = run_python(
            """
            import os, sys
            import anyio, aiopcap

            async def main():
                for name in sys.argv[1:]:
                    try:
                        await aiopcap.open_offline(name)
                    except PermissionError as error:
                        print(error.errno, error.filename == name)

            # Everything that is imported late is imported now: the checkout may be root's.
            anyio.run(anyio.lowlevel.checkpoint)
            os.setuid(65534)
            anyio.run(main)
            """,
            file.name,
        )
    assert printed == b"13 True\n"


@pytest.mark.parametrize(
    ("device", "error", "words"),
    [
        ("/dev/null", aiopcap.TruncatedSavefileError, "/dev/null: truncated dump file"),
        ("/dev/zero", aiopcap.SavefileError, "/dev/zero: unknown file format"),
        ("/proc/self/mem", OSError, "Input/output error"),
        ("/dev/full", aiopcap.SavefileError, "/dev/full: unknown file format"),
    ],
)
async def test_devices_that_hold_no_savefile(
    device: str, error: type[Exception], words: str
) -> None:
    before = open_descriptors()
    with pytest.raises(error, match=words):
        await aiopcap.open_offline(device)
    assert open_descriptors() == before


async def test_files_of_the_kernel_that_have_no_length() -> None:
    # They say that they are empty, and are not.
    with pytest.raises(aiopcap.SavefileError, match="unknown file format"):
        await aiopcap.open_offline("/proc/self/status")


async def test_a_symbolic_link_is_followed(path: Path) -> None:
    link = path.with_name("link.pcap")
    link.symlink_to(path)
    assert len((await read_all(link)).packets) == len(EXPECTED)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await aiopcap.open_offline(link)


async def test_a_file_that_is_removed_while_it_is_read(path: Path) -> None:
    async with await aiopcap.open_offline(path) as capture:
        first = await capture.receive()
        path.unlink()
        assert as_records([first] + [packet async for packet in capture]) == EXPECTED


async def test_opening_fails_without_leaving_anything_open(path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(aiopcap.FilterError):
        await aiopcap.open_offline(path, filter="no such thing")
    os.truncate(path, 10)
    with pytest.raises(aiopcap.TruncatedSavefileError):
        await aiopcap.open_offline(path)
    path.write_bytes(b"nonsense, but long enough to be one")
    with pytest.raises(aiopcap.SavefileError):
        await aiopcap.open_offline(path)
    assert open_descriptors() == before
