"""Savefiles from descriptors of the caller, and from standard input."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

import aiopcap
from tests.reading import as_records, read_all, rest_of
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


async def test_descriptors_are_not_inherited(path: Path) -> None:
    with path.open("rb") as file:
        for source in (path, file.fileno()):
            before = open_descriptors().keys()
            async with await aiopcap.open_offline(source) as capture:
                await capture.receive()
                opened = open_descriptors().keys() - before
                assert opened
                assert not any(map(os.get_inheritable, opened))
