"""A device without a link layer, whose other end is a program: this one."""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import LinkType, open_live, open_offline

from .support.frames import udp_frame
from .support.witnesses import tcpdump_records
from .support_live import PATIENCE, take

pytestmark = [pytest.mark.anyio, pytest.mark.net]

# From linux/if_tun.h.
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x1
_IFF_NO_PI = 0x1000

DATAGRAMS = [udp_frame(bytes([number]) * 20)[14:] for number in range(5)]


class Tun:
    """A tun device; what is written to it arrives there."""

    def __init__(self) -> None:
        self.name = f"a0{secrets.token_hex(5)}"
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH14x", self.name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(self._fd, _TUNSETIFF, request)
        subprocess.run(["ip", "link", "set", self.name, "up"], check=True)

    def write(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            os.write(self._fd, datagram)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


@pytest.fixture
def tun() -> Iterator[Tun]:
    try:
        device = Tun()
    except OSError as error:
        pytest.skip(f"no tun device: {error}")
    yield device
    device.close()


async def test_packets_begin_with_the_network_layer(tun: Tun, tmp_path: Path) -> None:
    savefile = tmp_path / "tun.pcap"
    async with await open_live(tun.name, filter="udp port 9") as capture:
        assert capture.linktype is LinkType.RAW
        assert capture.datalinks() == [LinkType.RAW]
        tun.write(DATAGRAMS)
        packets = await take(capture, 5)
        async with await capture.dump_open(savefile) as dumper:
            for packet in packets:
                await dumper.send(packet)
    assert [packet.data for packet in packets] == DATAGRAMS
    # In files the number of this link type is another than on devices.
    assert int.from_bytes(savefile.read_bytes()[20:24], "little") == 101
    records = tcpdump_records(savefile)
    assert [(r.timestamp_ns, r.data) for r in records] == [
        (packet.timestamp_ns, packet.data) for packet in packets
    ]
    async with await open_offline(savefile) as read:
        assert read.linktype is LinkType.RAW
        assert [packet async for packet in read] == packets


async def test_filters_change_as_on_any_device(tun: Tun) -> None:
    async with await open_live(tun.name, filter="udp") as capture:
        for expression in ("udp port 9", "inbound", None, "ip src 192.0.2.2"):
            await capture.set_filter(expression)
            tun.write(DATAGRAMS)
            packets = await take(capture, 5)
            assert [packet.data for packet in packets] == DATAGRAMS


async def test_the_device_goes_with_its_program(tun: Tun) -> None:
    async with await open_live(tun.name, filter="udp") as capture:
        tun.write(DATAGRAMS)
        tun.close()
        packets = await take(capture, 5)
        assert [packet.data for packet in packets] == DATAGRAMS
        with anyio.fail_after(PATIENCE), pytest.raises(aiopcap.InterfaceGoneError):
            await capture.receive()
