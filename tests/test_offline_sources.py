"""What `open_offline` reads from: paths, descriptors, pipes, file objects, memory."""

from __future__ import annotations

import array
import gzip
import io
import mmap
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from tests.reading import SlowFile, as_records, read_all, rest_of
from tests.support.frames import numbered
from tests.support.pcapfiles import Record, pcap_bytes, pcap_header, records
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


# --- paths ------------------------------------------------------------------------------------


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


# --- descriptors ------------------------------------------------------------------------------


async def test_a_descriptor_stays_the_callers(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        assert as_records((await read_all(fd)).packets) == EXPECTED
        assert os.fstat(fd).st_size == len(CONTENT)
        assert os.get_blocking(fd)
        assert os.lseek(fd, 0, os.SEEK_CUR) == len(CONTENT)
    finally:
        os.close(fd)


async def test_a_descriptor_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "inside"
    path.write_bytes(b"something else " + CONTENT)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.lseek(fd, len("something else "), os.SEEK_SET)
        assert as_records((await read_all(fd)).packets) == EXPECTED
    finally:
        os.close(fd)


async def test_a_descriptor_may_be_closed_by_its_owner_meanwhile(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    capture = await aiopcap.open_offline(fd)
    os.close(fd)
    async with capture:
        assert as_records([packet async for packet in capture]) == EXPECTED


@pytest.mark.parametrize("kind", ["closed", "negative", "write-only", "directory"])
async def test_a_descriptor_that_cannot_be_read(path: Path, kind: str) -> None:
    fd = -1
    if kind != "negative":
        target = path.parent if kind == "directory" else path
        fd = os.open(target, os.O_WRONLY if kind == "write-only" else os.O_RDONLY)
    if kind == "closed":
        os.close(fd)
    try:
        with pytest.raises(IsADirectoryError if kind == "directory" else OSError):
            await aiopcap.open_offline(fd)
    finally:
        if kind in ("write-only", "directory"):
            os.close(fd)


@pytest.mark.parametrize("kind", ["pipe", "stream socket", "seqpacket socket"])
async def test_a_descriptor_that_one_waits_for(kind: str) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        sort = socket.SOCK_STREAM if kind == "stream socket" else socket.SOCK_SEQPACKET
        ends = socket.socketpair(socket.AF_UNIX, sort)
        reader, writer = (end.detach() for end in ends)

    def write() -> None:
        for start in range(0, len(CONTENT), 1000):
            os.write(writer, CONTENT[start : start + 1000])
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert as_records((await read_all(reader)).packets) == EXPECTED
        assert os.get_blocking(reader)
    finally:
        os.close(reader)
        thread.join()


async def test_a_connection_that_is_reset() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(CONTENT[:1000])
            async with await aiopcap.open_offline(server.fileno()) as capture:
                await capture.receive()
                # With data unread on its side, closing sends a reset.
                server.sendall(b"unread")
                client.recv(1, socket.MSG_PEEK)
                client.close()
                with pytest.raises(ConnectionResetError):
                    await rest_of(capture)
                with pytest.raises(ConnectionResetError):
                    await capture.receive()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("standard_input", ["pipe", "file", "null"])
def test_standard_input(path: Path, backend: str, standard_input: str) -> None:
    program = f"""
        import os, sys
        import anyio, aiopcap

        async def main():
            if {standard_input == "file"}:
                os.dup2(os.open({str(path)!r}, os.O_RDONLY), 0)
            if {standard_input == "null"}:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            blocking = os.get_blocking(0)
            try:
                async with await aiopcap.open_offline("-") as capture:
                    print(len([packet async for packet in capture]))
            except aiopcap.TruncatedSavefileError as error:
                print(error)
            assert os.get_blocking(0) == blocking
            assert sys.stdin.buffer.read() == b""  # still open

        anyio.run(main, backend={backend!r})
        """
    printed = run_python(program, standard_input=CONTENT if standard_input == "pipe" else b"")
    if standard_input == "null":
        assert printed.startswith(b"standard input: truncated dump file")
    else:
        assert printed == b"300\n"


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [bytes, bytearray, memoryview, lambda data: memoryview(array.array("b", data))],
    ids=["bytes", "bytearray", "memoryview", "memoryview of an array"],
)
async def test_memory_of_any_kind(kind: Callable[[bytes], Any]) -> None:
    assert as_records((await read_all(kind(CONTENT))).packets) == EXPECTED


async def test_a_bytearray_is_free_again_when_the_capture_is_closed() -> None:
    memory = bytearray(CONTENT)
    async with await aiopcap.open_offline(memory) as capture:
        packet = await capture.receive()
        batch = await capture.receive_batch()
    memory.clear()
    assert packet.data == EXPECTED[0].data
    assert batch[0].data == EXPECTED[1].data


async def test_memory_that_changes_later_does_not_change_packets() -> None:
    memory = bytearray(CONTENT)
    async with await aiopcap.open_offline(memory) as capture:
        batch = await capture.receive_batch()
        memory[24:] = bytes(len(memory) - 24)
        assert as_records(batch) == EXPECTED


# --- file objects -----------------------------------------------------------------------------


class OnlyRead:
    """The least that a file object is."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._rest.read(size)


@pytest.mark.parametrize(
    "kind",
    [
        io.BytesIO,
        OnlyRead,
        lambda content: SlowFile(content, at_once=7),
        lambda content: io.BufferedReader(SlowFile(content), 100),
        lambda content: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content))),
    ],
    ids=["BytesIO", "only read", "a few bytes a time", "buffered", "gzip"],
)
async def test_a_file_object_of_any_kind(kind: Callable[[bytes], Any]) -> None:
    assert as_records((await read_all(kind(CONTENT))).packets) == EXPECTED


@pytest.mark.parametrize("buffering", [-1, 0])
async def test_an_open_file_stays_open(path: Path, buffering: int) -> None:
    with path.open("rb", buffering=buffering) as file:
        assert as_records((await read_all(file)).packets) == EXPECTED
        assert not file.closed
        assert file.read() == b""


async def test_a_mapped_file(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert as_records((await read_all(mapped)).packets) == EXPECTED


async def test_an_error_names_the_file_of_the_object(path: Path) -> None:
    os.truncate(path, 30)
    with path.open("rb") as file:
        assert str(path) in str((await read_all(file)).error)


@pytest.mark.parametrize("kind", ["StringIO", "text file", "encoded text file"])
async def test_text_is_refused_with_advice(path: Path, kind: str) -> None:
    text: io.TextIOBase = io.StringIO("text")
    if kind != "StringIO":
        text = path.open("r", encoding="ascii" if kind == "text file" else "utf-16")
    with text, pytest.raises(TypeError, match="text"):
        await aiopcap.open_offline(text)


@pytest.mark.parametrize("source", [None, 1.5, [1], {"a": 1}, object()], ids=repr)
async def test_what_is_no_source_is_refused_with_a_list_of_what_is(source: Any) -> None:
    with pytest.raises(TypeError, match=r"path.*descriptor.*file object.*bytes"):
        await aiopcap.open_offline(source)


async def test_an_object_that_has_nothing_now_says_so() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, CONTENT[:100])
    try:
        with open(reader, "rb", buffering=0, closefd=False) as file:
            async with await aiopcap.open_offline(file) as capture:
                assert (await capture.receive()).data == EXPECTED[0].data
                with pytest.raises(BlockingIOError):
                    await capture.receive()
    finally:
        os.close(reader)
        os.close(writer)


async def test_an_object_that_gives_more_than_it_was_asked_for() -> None:
    class Generous:
        def read(self, size: int) -> bytes:
            return pcap_header() + bytes(size)

    with pytest.raises((ValueError, OSError)) as caught:
        await aiopcap.open_offline(Generous())
    assert not isinstance(caught.value, aiopcap.SavefileError)


async def test_an_object_that_gives_no_bytes() -> None:
    class Strange:
        def read(self, _size: int) -> Any:
            return 5

    with pytest.raises(TypeError):
        await aiopcap.open_offline(Strange())


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


async def test_descriptors_are_not_inherited(path: Path) -> None:
    before = open_descriptors().keys()
    async with await aiopcap.open_offline(path):
        [fd] = open_descriptors().keys() - before
        assert not os.get_inheritable(fd)
    with path.open("rb") as file:
        before = open_descriptors().keys()
        async with await aiopcap.open_offline(file.fileno()):
            [fd] = open_descriptors().keys() - before
            assert not os.get_inheritable(fd)
