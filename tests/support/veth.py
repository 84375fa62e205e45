"""Two hosts joined by a cable: a veth pair whose far end lives in a namespace of its own.

The near end is in the namespace of the tests, under a name that no other device has, and is
what a test captures on. The link is quiet: no IPv6, no ARP, no addresses. What arrives is what
the test sent.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from .namespaces import Namespace

__all__ = ["Counters", "Veth", "veth_pair"]

End = Literal["near", "far"]

# From linux/sockios.h, linux/if.h, linux/if_packet.h and linux/if_ether.h; the socket module
# has only some of them.
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFMTU = 0x8922
_IFF_UP = 0x1
_SOL_PACKET = 263
_PACKET_QDISC_BYPASS = 20


class Counters(NamedTuple):
    """What the kernel counted on one end of the pair."""

    rx_packets: int
    rx_dropped: int
    tx_packets: int
    tx_dropped: int


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _set_flag_up(control: socket.socket, device: str, up: bool) -> None:
    request = struct.pack("16sH14x", device.encode(), 0)
    flags = struct.unpack("16sH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
    flags = flags | _IFF_UP if up else flags & ~_IFF_UP
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), flags))


def _silence(device: str) -> None:
    """Keep IPv6 from announcing itself on a device that is not up yet."""
    switch = Path("/proc/sys/net/ipv6/conf", device, "disable_ipv6")
    if not switch.exists():
        return
    try:
        switch.write_text("1")
    except OSError:  # containers often mount /proc/sys read-only
        _ip("link", "set", device, "addrgenmode", "none")


def _counters(device: str) -> Counters:
    # thread-self: the counters are those of the namespace that the calling thread is in.
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == device:
            values = [int(value) for value in rest.split()]
            return Counters(values[1], values[3], values[9], values[11])
    raise LookupError(device)


class Veth:
    """A veth pair, up at both ends and quiet.

    Attributes:
        near: Name of the device in the namespace of the tests.
        far: Name of its peer.
        far_namespace: The namespace that the peer is in.
    """

    near: str
    far: str
    far_namespace: Namespace

    def __init__(self) -> None:
        # IFNAMSIZ leaves 15 characters.
        self.near = f"a0{secrets.token_hex(5)}"
        self.far = "far0"
        self._near_control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.far_namespace = Namespace()
        except OSError:
            self._near_control.close()
            raise
        self._far_control = self.far_namespace.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self._senders: dict[End, socket.socket] = {}
        try:
            self.create()
        except BaseException:
            self.close()
            raise

    def create(self) -> None:
        """Make both devices and bring them up; after `delete`, make them again.

        When it returns, frames get through.
        """
        near_half = ["link", "add", self.near, "arp", "off", "type", "veth"]
        far_half = ["peer", "name", self.far, "netns", self.far_namespace.path, "arp", "off"]
        _ip(*near_half, *far_half)
        _silence(self.near)
        self.far_namespace.run(_silence, self.far)
        self.set_link(True, "far")
        self.set_link(True, "near")

    def send(self, frames: bytes | Iterable[bytes], *, end: End = "far") -> int:
        """Send frames into the cable, from the far end unless told otherwise.

        Returns:
            How many were sent.
        """
        sender = self._senders.get(end)
        if sender is None:
            sender = self._senders[end] = self.packet_socket(end)
            if end == "far":
                # The kernel attaches the far device's queue some time after the link has come
                # up, and drops what is sent through it before that. Going around the queue
                # makes the first frame as safe as the last.
                sender.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        count = 0
        for data in [frames] if isinstance(frames, bytes) else frames:
            sender.send(data)
            count += 1
        return count

    def packet_socket(self, end: End = "far", protocol: int = 0) -> socket.socket:
        """Open a raw packet socket on one end. The caller closes it.

        Args:
            end: Which end of the pair.
            protocol: EtherType to receive; 0 receives nothing, 3 everything.
        """

        def open_socket() -> socket.socket:
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)

        raw = self.far_namespace.run(open_socket) if end == "far" else open_socket()
        raw.bind((self.far if end == "far" else self.near, protocol))
        return raw

    def set_link(self, up: bool, end: End = "near") -> None:
        """Bring one end up or down; the other end loses or gains its carrier."""
        if end == "far":
            _set_flag_up(self._far_control, self.far, up)
        else:
            _set_flag_up(self._near_control, self.near, up)

    def set_mtu(self, mtu: int) -> None:
        """Set the largest payload of a frame, in bytes, at both ends."""
        for control, device in ((self._near_control, self.near), (self._far_control, self.far)):
            fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si12x", device.encode(), mtu))

    def counters(self, end: End = "far") -> Counters:
        """Read the kernel's counters of one end."""
        if end == "far":
            return self.far_namespace.run(_counters, self.far)
        return _counters(self.near)

    def delete(self) -> None:
        """Remove both devices, as when an adapter is pulled out."""
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        _ip("link", "delete", self.near)

    def close(self) -> None:
        """Give everything back; the devices go with the far namespace."""
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        self._near_control.close()
        self._far_control.close()
        self.far_namespace.close()


@contextmanager
def veth_pair() -> Iterator[Veth]:
    """Make a veth pair for the length of a ``with`` block."""
    pair = Veth()
    try:
        yield pair
    finally:
        pair.close()
