"""What the tests of send queues share: who watches the far end of the cable, and queues."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import anyio

import aiopcap
from aiopcap import LiveCapture, Packet, SendQueue

from .support.frames import frame, numbered
from .support.veth import Veth
from .support_live import PATIENCE

__all__ = [
    "MS",
    "Arrival",
    "Witness",
    "cut",
    "queue_of",
    "sending",
    "spaced",
    "watched",
]

MS = 1_000_000  # nanoseconds

# From asm-generic/socket.h and linux/if_ether.h; the socket module lacks them.
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_ETH_P_ALL = 3


class Arrival(NamedTuple):
    """A frame at the far end.

    Attributes:
        time_ns: When the kernel had it, nanoseconds since 1970.
        data: Its bytes.
    """

    time_ns: int
    data: bytes


class Witness:
    """A packet socket at the far end, which knows nothing of aiopcap.

    Attributes:
        veth: The cable.
    """

    def __init__(self, veth: Veth) -> None:
        self.veth = veth
        self._socket = veth.packet_socket("far", _ETH_P_ALL)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 * 2**20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(PATIENCE)
        self._await_clock()
        self._before = veth.counters("far").rx_packets

    def _await_clock(self) -> None:
        """The kernel begins to take times of arrival a moment after it was asked to.

        Until then a frame has the time at which it was read, which is later than that of its send.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.veth.send(frame(b"warm"), end="near")
            sent_ns = time.time_ns()
            if self.take(1)[0].time_ns <= sent_ns:
                return
        raise TimeoutError("the kernel takes no times of arrival")

    @property
    def count(self) -> int:
        """How many frames the far device has received since this watches; its own count."""
        return self.veth.counters("far").rx_packets - self._before

    def take(self, count: int) -> list[Arrival]:
        """Take so many frames; they have to come."""
        found = []
        for _ in range(count):
            data, extras, _, _ = self._socket.recvmsg(65536, 64)
            ((_, _, raw),) = extras
            seconds, nanoseconds = struct.unpack("qq", raw)
            found.append(Arrival(seconds * 1_000_000_000 + nanoseconds, data))
        return found

    def datas(self, count: int) -> list[bytes]:
        """Take so many frames, without their times."""
        return [arrival.data for arrival in self.take(count)]

    async def first(self) -> None:
        """Wait until there is a frame to be taken."""
        with anyio.fail_after(PATIENCE):
            await anyio.wait_readable(self._socket)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def watched(veth: Veth) -> Iterator[Witness]:
    """Watch the far end."""
    witness = Witness(veth)
    try:
        yield witness
    finally:
        witness.close()


@asynccontextmanager
async def sending(veth: Veth) -> AsyncIterator[tuple[LiveCapture, Witness]]:
    """Open the near end to send on it, and watch the far end."""
    with watched(veth) as witness:
        async with await aiopcap.open_live(veth.near) as capture:
            yield capture, witness


def queue_of(*frames: bytes | Packet) -> SendQueue:
    """A queue of these."""
    queue = SendQueue()
    queue.extend(frames)
    return queue


def cut(number: int, timestamp_ns: int = 0) -> Packet:
    """A packet that a snaplen has cut to 60 of 100 bytes."""
    (data,) = numbered(1, start=number)
    return Packet(data, timestamp_ns=timestamp_ns, wire_length=100)


def spaced(timestamps_ns: Sequence[int], *, start: int = 0) -> SendQueue:
    """A queue of numbered frames with these time stamps."""
    queue = SendQueue()
    for data, when in zip(numbered(len(timestamps_ns), start=start), timestamps_ns, strict=True):
        queue.append(Packet(data, timestamp_ns=when))
    return queue
