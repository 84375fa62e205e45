"""Savefiles from writers that are slow, fast, many or other programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import pytest
from anyio import to_thread, wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import aiopcap
from tests.reading import SlowFile, pipe, read_all, rest_of
from tests.support.event_loop import loop_lag
from tests.support.frames import frame, numbered, udp_frame
from tests.support.pcapfiles import Record, pcap_bytes, pcap_record, records

pytestmark = pytest.mark.anyio

PACKETS = records(numbered(50))

PIECES = [pcap_record(packet) for packet in PACKETS]

CONTENT = pcap_bytes(PACKETS)


async def test_a_slow_writer_does_not_block_the_loop() -> None:
    with pipe() as (reader, writer):
        os.write(writer, CONTENT[:24])
        got: list[aiopcap.Packet] = []
        async with (
            loop_lag(0.002) as lag,
            await aiopcap.open_offline(reader) as capture,
            anyio.create_task_group() as tasks,
        ):

            async def read() -> None:
                got.extend([packet async for packet in capture])

            tasks.start_soon(read)
            for piece in PIECES:
                turns = lag.count
                os.write(writer, piece[:30])
                while lag.count == turns:  # the loop turns while half a record is there
                    await checkpoint()
                os.write(writer, piece[30:])
            os.close(writer)
        assert len(got) == 50
        assert lag.max < 0.25


@pytest.mark.parametrize("expression", [None, "ip"])
async def test_a_fast_writer_does_not_keep_the_loop_for_itself(expression: str | None) -> None:
    # The writer never stops, and with the filter there is nothing to deliver between two reads.
    program = """
        import os, struct
        record = struct.pack("<IIII", 1, 1, 60, 60) + bytes(12) + b"\\x88\\xb5" + bytes(46)
        os.write(1, struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        block = record * 6000
        try:
            while True:
                left = memoryview(block)
                while left:
                    left = left[os.write(1, left):]
        except BrokenPipeError:
            pass
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        async with (
            await aiopcap.open_offline(writer.stdout.fileno(), filter=expression) as capture,
            loop_lag(0.005) as lag,
            anyio.create_task_group() as tasks,
        ):

            async def read() -> None:
                async for _ in capture.batches():
                    pass

            tasks.start_soon(read)
            while lag.count < 60:
                await checkpoint()
            tasks.cancel_scope.cancel()
        writer.stdout.close()
    assert lag.percentile(90) < 0.1


async def test_a_large_packet_that_trickles_in_is_not_copied_over_and_over() -> None:
    size = 24 * 1024 * 1024
    data = os.urandom(1024) * (size // 1024)
    content = pcap_bytes([Record(0, data)], linktype=231, snaplen=size)
    reader, writer = socket.socketpair()

    def send() -> None:
        with writer:
            writer.sendall(content)

    thread = threading.Thread(target=send)
    with reader:
        thread.start()
        async with loop_lag(0.005) as lag, await aiopcap.open_offline(reader.fileno()) as capture:
            packet = await capture.receive()
        thread.join()
    assert packet.data == data
    # 24 MiB in steps of 64 KiB or so; copied at each step, that would be 4 GiB.
    assert lag.max < 0.25


async def test_tcpdump_feeds_a_capture_through_a_pipe(tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    content = pcap_bytes(records([udp_frame(bytes([number])) for number in range(100)]))
    command = ["tcpdump", "-r", "-", "-w", "-", "--nano", "-U", "udp and less 1000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(content)
        program.stdin.close()
        packets, error = await read_all(program.stdout.fileno())
    assert (len(packets), error) == (100, None)


async def test_set_filter_on_a_pipe_is_in_force_at_once() -> None:
    with pipe() as (reader, writer):
        content = pcap_bytes(records([udp_frame(), frame(), udp_frame(), frame()] * 5))
        os.write(writer, content)
        async with await aiopcap.open_offline(reader) as capture:
            await capture.receive()
            await capture.set_filter("ether proto 0x88b5")
            os.write(writer, content[24:])
            os.close(writer)
            rest = [packet async for packet in capture]
    assert {packet.data for packet in rest} == {frame()}
    assert len(rest) == 20


async def test_many_slow_file_objects_leave_threads_for_others(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(CONTENT)
    files = [SlowFile(CONTENT, at_once=500) for _ in range(50)]
    captures = [await aiopcap.open_offline(file) for file in files]
    for file in files:
        file.hold()
    try:
        async with anyio.create_task_group() as tasks:
            for capture in captures:
                tasks.start_soon(rest_of, capture)
            await wait_all_tasks_blocked()
            with anyio.move_on_after(3) as scope:
                assert await to_thread.run_sync(lambda: "another thread") == "another thread"
                assert len((await read_all(path)).packets) == 50
            for file in files:
                file.release()
    finally:
        for file in files:
            file.release()
        for capture in captures:
            await capture.aclose()
    assert not scope.cancelled_caught
