"""What only the tests of sending need: who listens at the far end, and a device that is slow."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aiopcap

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import PATIENCE, until

__all__ = [
    "METHODS",
    "FarEnd",
    "Gate",
    "Method",
    "fill",
    "listening",
    "only",
    "queue_of",
    "settle",
    "until_sending",
]

# From asm-generic/socket.h, linux/if_ether.h, linux/socket.h and linux/if_packet.h.
_SO_RCVBUFFORCE = 33
_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_STATISTICS = struct.Struct("II")

# Another EtherType than that of the frames under test.
_MARKS = 0x88B6

_mark_numbers = count()

Method = Callable[[aiopcap.LiveCapture, Any], Any]


async def _transmit(capture: aiopcap.LiveCapture, data: bytes) -> object:
    return await queue_of([data]).transmit(capture)


# The ways to send one frame, of either colour.
METHODS: dict[str, Method] = {
    "send": lambda capture, data: capture.send(data),
    "send_nowait": lambda capture, data: capture.send_nowait(data),
    "send_batch": lambda capture, data: capture.send_batch([data]),
    "transmit": _transmit,
}


async def only(result: Any) -> Any:
    """Await what a method of either colour returned."""
    return await result if isinstance(result, Awaitable) else result


def queue_of(frames: Iterable[bytes], gaps: Iterable[float] = ()) -> aiopcap.SendQueue:
    """Make a send queue.

    Args:
        frames: What is in it.
        gaps: Seconds from the frame before to the second, the third, ...; 0 after the last.
    """
    queue, now, remaining = aiopcap.SendQueue(), 0, iter([0.0, *gaps])
    for data in frames:
        now += round(next(remaining, 0.0) * 1e9)
        queue.append(data, now)
    return queue


async def until_sending(capture: aiopcap.LiveCapture) -> None:
    """Wait until a task is sending, for whom others have to wait. It has to wait itself."""

    def is_sending() -> bool:
        with pytest.raises((anyio.BusyResourceError, aiopcap.FrameSizeError)) as caught:
            capture.send_nowait(b"")
        return caught.errisinstance(anyio.BusyResourceError)

    await until(is_sending)


async def settle() -> None:
    """Let the tasks that were started get as far as they do without waiting."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


def _send_mark(veth: Veth) -> bytes:
    data = frame(next(_mark_numbers).to_bytes(8, "big"), ethertype=_MARKS)
    veth.send(data, end="near")
    return data


class FarEnd:
    """A packet socket at the far end of a cable.

    Args:
        veth: The cable; nothing may be on its way.
    """

    def __init__(self, veth: Veth) -> None:
        self._veth = veth
        self._before = veth.counters().rx_packets
        self._seen = self._seen_marks = 0
        self._socket = veth.packet_socket("far", _ETH_P_ALL)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 * 2**20)
        self._socket.setblocking(False)

    async def _next(self) -> bytes:
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            self._seen += 1
            return data

    async def frames(self, number: int) -> list[bytes]:
        """The next so many frames, when they have come."""
        found: list[bytes] = []
        with anyio.fail_after(PATIENCE):
            while len(found) < number:
                data = await self._next()
                if not _is_mark(data):
                    found.append(data)
        return found

    async def everything(self) -> list[bytes]:
        """All frames that were sent and not asked for yet.

        A mark follows them through the device's queue; and as a frame of another processor may
        be behind it nevertheless, all are awaited that the kernel counted.
        """
        found: list[bytes] = []
        with anyio.fail_after(PATIENCE):
            mark = await self._mark()
            waiting = True
            while waiting or self._seen < self.counted():
                data = await self._next()
                waiting = waiting and data != mark
                if not _is_mark(data):
                    found.append(data)
        return found

    async def _mark(self) -> bytes:
        while True:
            try:
                return _send_mark(self._veth)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            # Of a device's full queue nothing tells when there is room.
            await anyio.sleep(0.001)

    def counted(self) -> int:
        """How many frames the kernel counted since this listens, marks included."""
        return self._veth.counters().rx_packets - self._before

    def statistics(self) -> int:
        """How many frames came to the socket since this was asked last, also if the device is gone.

        Those count that it had no room for.
        """
        packets: int = _STATISTICS.unpack(
            self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        )[0]
        return packets

    def close(self) -> None:
        """Stop to listen."""
        self._socket.close()


def _is_mark(data: bytes) -> bool:
    return data[12:14] == _MARKS.to_bytes(2, "big")


@contextmanager
def listening(veth: Veth) -> Iterator[FarEnd]:
    """Listen at the far end for the length of a ``with`` block."""
    far = FarEnd(veth)
    try:
        yield far
    finally:
        far.close()


class Gate:
    """The queue of a near device (tbf), which lets out as many bytes a second as one likes."""

    def __init__(self, veth: Veth) -> None:
        if shutil.which("tc") is None:
            reason = "the command tc is missing (package iproute2)"
            (pytest.fail if os.environ.get("AIOPCAP_REQUIRE_NET") == "1" else pytest.skip)(reason)
        self._veth = veth

    def set(self, rate: str, limit: int, burst: int = 2000) -> None:
        """Set the rate, and how many bytes may wait; those that wait already stay."""
        queue = ("qdisc", "replace", "dev", self._veth.near, "root", "tbf")
        _tc(*queue, "rate", rate, "burst", str(burst), "limit", str(limit))

    def shut(self, limit: int = 10_000_000) -> None:
        """Let nothing out but the first two thousand bytes."""
        self.set("8bit", limit)

    def open(self) -> None:
        """Let everything out, also what waits."""
        self.set("10gbit", 10_000_000, burst=2**20)
        # What waits does not notice the new rate until another frame comes.
        _send_mark(self._veth)

    def refused(self) -> int:
        """How many frames found no room since this queue is there."""
        found = json.loads(_tc("-j", "-s", "qdisc", "show", "dev", self._veth.near))
        return int(found[0]["drops"])


def _tc(*arguments: str) -> str:
    run = subprocess.run(["tc", *arguments], check=True, capture_output=True, text=True)
    return run.stdout


def fill(capture: aiopcap.LiveCapture, size: int = 1514) -> list[bytes]:
    """Send numbered frames until there is no room for another; returns those that went."""
    frames = numbered(20_000, size)
    for number, data in enumerate(frames):
        try:
            capture.send_nowait(data)
        except anyio.WouldBlock:
            return frames[:number]
    pytest.fail("there is always room")
