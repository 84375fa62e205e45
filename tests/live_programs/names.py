"""Host names in filters, while the name server takes its time.

The program brings a name server of its own, which answers when it is told to: it has to be run
with a mount and a network namespace of its own (``unshare --mount --net``).
"""

import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live
from tests.live_programs import main
from tests.support.event_loop import loop_lag
from tests.support.frames import number_of, udp_frame
from tests.support.resources import open_descriptors
from tests.support.veth import Veth, veth_pair

NAME = "slow.test"
ADDRESS = "192.0.2.77"
FILTER = f"host {NAME}"


class NameServer:
    """Answers queries for one name, once `answer` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._waiting: list[tuple[bytes, object]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            self.asked.set()
            self.answer.wait()
            self._socket.sendto(self._reply(query), client)

    @staticmethod
    def _reply(query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack_from("!H", query, end - 4)
        records = b""
        if kind == 1:
            packed = socket.inet_aton(ADDRESS)
            records = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, len(packed)) + packed
        header = struct.pack(
            "!HHHHHH", int.from_bytes(query[:2], "big"), 0x8180, 1, bool(records), 0, 0
        )
        return header + query[12:end] + records


@asynccontextmanager
async def _hosts() -> AsyncIterator[tuple[Veth, NameServer]]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {
            "resolv.conf": "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n",
            "nsswitch.conf": "hosts: dns\n",
        }.items():
            path = Path(folder, name)
            path.write_text(text)
            subprocess.run(["mount", "--bind", str(path), f"/etc/{name}"], check=True)
        with veth_pair() as veth, anyio.fail_after(20):
            yield veth, NameServer()
        for name in ("resolv.conf", "nsswitch.conf"):
            subprocess.run(["umount", f"/etc/{name}"], check=True)


def _frames(start: int) -> list[bytes]:
    def payload(number: int) -> bytes:
        return number.to_bytes(8, "big")

    matching = udp_frame(payload(start + 1), source_address=ADDRESS)
    return [udp_frame(payload(start)), matching]


def _number(packet: aiopcap.Packet) -> int:
    return number_of(packet.data[28:])


async def _until_asked(server: NameServer) -> None:
    while not server.asked.is_set():
        await anyio.lowlevel.checkpoint()


async def change_while_others_go_on() -> None:
    """While the name is looked up, packets come and other tasks run."""
    async with _hosts() as (veth, server), await open_live(veth.near) as capture:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(capture.set_filter, FILTER)
            await _until_asked(server)
            async with loop_lag() as lag:
                for start in range(0, 40, 2):
                    veth.send(_frames(start))
                    assert _number(await capture.receive()) == start
                    assert _number(await capture.receive()) == start + 1
                while lag.count < 10:
                    await anyio.lowlevel.checkpoint()
            assert lag.percentile(50) < 0.02, lag.lags
            assert capture.filter is None
            server.answer.set()
        assert str(capture.filter) == FILTER
        veth.send(_frames(100))
        assert _number(await capture.receive()) == 101


async def open_while_others_go_on() -> None:
    """An open that looks up a name holds up nobody, and the filter is in force."""
    async with _hosts() as (veth, server):
        captures: list[aiopcap.LiveCapture] = []

        async def open_it() -> None:
            captures.append(await open_live(veth.near, filter=FILTER))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_it)
            await _until_asked(server)
            async with loop_lag() as lag:
                while lag.count < 10:
                    await anyio.lowlevel.checkpoint()
            assert lag.percentile(50) < 0.02, lag.lags
            server.answer.set()
        (capture,) = captures
        async with capture:
            veth.send(_frames(0))
            assert _number(await capture.receive()) == 1


async def close_meanwhile() -> None:
    """A capture can be closed while a filter for it is compiled."""
    async with _hosts() as (veth, server):
        capture = await open_live(veth.near)
        socket_name = open_descriptors()[capture.fileno()]

        async def change() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await capture.set_filter(FILTER)

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await capture.receive()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(change)
            tasks.start_soon(receive)
            await _until_asked(server)
            await wait_all_tasks_blocked()
            begun = time.perf_counter()
            await capture.aclose()
            assert time.perf_counter() - begun < 1
            with pytest.raises(anyio.ClosedResourceError):
                capture.statistics()
            server.answer.set()
        while socket_name in open_descriptors().values():
            await anyio.lowlevel.checkpoint()


async def cancel_meanwhile() -> None:
    """A cancelled change takes effect at once; the old filter stays, whatever comes later."""
    async with _hosts() as (veth, server), await open_live(veth.near, filter="udp") as capture:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(capture.set_filter, FILTER)
            await _until_asked(server)
            tasks.cancel_scope.cancel()
        assert str(capture.filter) == "udp"
        server.answer.set()
        # The same name again: when this one is through, so is the one that nobody waits for.
        async with await open_live(veth.near, filter=FILTER):
            pass
        veth.send(_frames(0))
        assert _number(await capture.receive()) == 0
        assert str(capture.filter) == "udp"


async def cancel_the_open() -> None:
    """A cancelled open returns at once; what it opens later is closed."""
    async with _hosts() as (veth, server):
        before = open_descriptors()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: open_live(veth.near, filter=FILTER))
            await _until_asked(server)
            tasks.cancel_scope.cancel()
        server.answer.set()
        while open_descriptors().keys() - before.keys():
            await anyio.lowlevel.checkpoint()


async def change_meanwhile() -> None:
    """A second change overtakes the first, which is still looking up its name."""
    async with _hosts() as (veth, server), await open_live(veth.near) as capture:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(capture.set_filter, FILTER)
            await _until_asked(server)
            await capture.set_filter("greater 100")
            assert str(capture.filter) == "greater 100"
            server.answer.set()
        assert str(capture.filter) == FILTER
        veth.send(_frames(0))
        assert _number(await capture.receive()) == 1


if __name__ == "__main__":
    main(
        change_while_others_go_on,
        open_while_others_go_on,
        close_meanwhile,
        cancel_meanwhile,
        cancel_the_open,
        change_meanwhile,
    )
