"""What cannot be sent: each for a reason of its own, before or instead of sending."""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import open_live, open_offline

from .support.frames import frame, numbered, udp_frame
from .support.pcapfiles import pcap_bytes, records
from .support.veth import Veth
from .support_send import METHODS, listening, only, queue_of

pytestmark = [pytest.mark.anyio, pytest.mark.net]

# From linux/if_tun.h and linux/if_arp.h.
_TUNSETIFF = 0x400454CA
_TUNSETLINK = 0x400454CD
_IFF_TUN = 0x1
_IFF_NO_PI = 0x1000
_ARPHRD_PPP = 512

MTU = 1500
HEADER = 14


async def _refusal(method: str, capture: aiopcap.LiveCapture, data: bytes) -> BaseException:
    """Why a frame is not sent: the error of a single one, and the cause of that of many."""
    with pytest.raises(aiopcap.PcapError) as caught:
        await only(METHODS[method](capture, data))
    if method in ("send", "send_nowait"):
        return caught.value
    error = caught.value
    assert isinstance(error, aiopcap.SendError)
    assert (error.index, error.packets, error.nbytes) == (0, 0, 0)
    assert error.__cause__ is not None
    assert str(error.__cause__) in str(error)
    return error.__cause__


async def test_a_frame_of_no_size_that_the_device_takes(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in METHODS:
                for size in (0, 1, HEADER - 1, MTU + HEADER + 1, 3000, 70_000):
                    error = await _refusal(method, capture, bytes(size))
                    assert isinstance(error, aiopcap.FrameSizeError)
                    assert isinstance(error, ValueError)
                    assert error.size == size
                    words = ["empty" if size == 0 else f"{size} bytes", veth.near]
                    words.append(f"{MTU}" if size > MTU else "short")
                    assert all(word in str(error) for word in words), str(error)
                    # The capture is none the worse.
                    await only(METHODS[method](capture, frame(size=MTU + HEADER)))
                    await only(METHODS[method](capture, frame(size=HEADER)))
                    sizes = [len(data) for data in await far.everything()]
                    assert sizes == [MTU + HEADER, HEADER]


async def test_the_limit_follows_the_mtu(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for mtu in (9000, 600, 68):
                veth.set_mtu(mtu)
                for method in METHODS:
                    data = frame(size=mtu + HEADER)
                    await only(METHODS[method](capture, data))
                    error = await _refusal(method, capture, data + b"\0")
                    assert isinstance(error, aiopcap.FrameSizeError)
                    assert error.size == mtu + HEADER + 1
                    assert f"{mtu}" in str(error).replace(f"{error.size}", "")
                    assert await far.everything() == [data]


async def test_a_link_that_is_down_and_up_again(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in METHODS:
                veth.set_link(False)
                for _ in range(2):
                    error = await _refusal(method, capture, frame())
                    assert isinstance(error, aiopcap.InterfaceDownError)
                    assert veth.near in str(error)
                veth.set_link(True)
                for data in numbered(2):
                    await only(METHODS[method](capture, data))
                assert await far.everything() == numbered(2)


async def test_a_link_that_was_down_while_nobody_sent_is_up(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        with listening(veth) as far:
            for method in METHODS:
                for data in numbered(3):
                    veth.set_link(False)
                    veth.set_link(True)
                    await only(METHODS[method](capture, data))
                assert await far.everything() == numbered(3)


async def test_a_device_that_is_gone(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.delete()
        for method in [*METHODS, *METHODS]:
            error = await _refusal(method, capture, frame())
            assert isinstance(error, aiopcap.InterfaceGoneError)
            assert veth.near in str(error)
        # It is another one, even if it has the same name.
        veth.create()
        before = veth.counters().rx_packets
        for method in METHODS:
            error = await _refusal(method, capture, frame())
            assert isinstance(error, aiopcap.InterfaceGoneError)
        assert veth.counters().rx_packets == before


async def test_all_devices_at_once_take_no_frames(veth: Veth) -> None:
    async with await open_live("any") as capture:
        before = veth.counters().rx_packets
        for method in METHODS:
            with pytest.raises(aiopcap.PcapError, match=r'any: .*"any" device') as caught:
                await only(METHODS[method](capture, frame()))
            assert not isinstance(caught.value, aiopcap.SendError)
            assert veth.counters().rx_packets == before


class _Tun:
    """A device whose other end is this process: what is sent can be read here."""

    def __init__(self, hardware_type: int | None) -> None:
        self.name = f"a0{secrets.token_hex(5)}"
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            request = struct.pack("16sH14x", self.name.encode(), _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(self._fd, _TUNSETIFF, request)
            if hardware_type is not None:
                fcntl.ioctl(self._fd, _TUNSETLINK, hardware_type)
            quiet = ["ip", "link", "set", self.name, "addrgenmode", "none"]
            subprocess.run(quiet, check=True)
            subprocess.run(["ip", "link", "set", self.name, "up"], check=True)
        except BaseException:
            self.close()
            raise

    def arrived(self) -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                found.append(os.read(self._fd, 65536))
            except BlockingIOError:
                return found

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def tun() -> Iterator[Callable[[int | None], _Tun]]:
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    made: list[_Tun] = []

    def make(hardware_type: int | None) -> _Tun:
        made.append(_Tun(hardware_type))
        return made[-1]

    yield make
    for device in made:
        device.close()


async def test_a_device_without_a_link_layer_takes_datagrams(tun: Any) -> None:
    device = tun(None)
    datagrams = [udp_frame(bytes([number]) * 30)[HEADER:] for number in range(3)]
    async with await open_live(device.name) as capture:
        assert capture.linktype is aiopcap.LinkType.RAW
        await capture.send(datagrams[0])
        await capture.send_batch(datagrams[1:])
        assert device.arrived() == datagrams
        with pytest.raises(aiopcap.FrameSizeError) as caught:
            await capture.send(bytes(1501))
        assert caught.value.size == 1501
        assert device.arrived() == []


async def test_a_device_in_cooked_mode_takes_no_frames(tun: Any) -> None:
    device = tun(_ARPHRD_PPP)
    async with await open_live(device.name) as capture:
        assert capture.linktype is aiopcap.LinkType.LINUX_SLL
        for method in METHODS:
            with pytest.raises(aiopcap.PcapError, match=f"{device.name}.*cooked"):
                await only(METHODS[method](capture, udp_frame()))
            assert device.arrived() == []


async def test_a_capture_that_is_closed(veth: Veth) -> None:
    capture = await open_live(veth.near)
    await capture.aclose()
    before = veth.counters().rx_packets
    for method in METHODS:
        with pytest.raises(anyio.ClosedResourceError):
            await only(METHODS[method](capture, frame()))
    with pytest.raises(anyio.ClosedResourceError):
        await capture.send_batch([])
    assert veth.counters().rx_packets == before


async def test_what_is_no_live_capture(tmp_path: Path) -> None:
    source = pcap_bytes(records([frame()]))
    async with await open_offline(source) as capture:
        target: Any
        for target in (capture, None, "eth0", 7):
            with pytest.raises(TypeError, match="live capture"):
                await queue_of([frame()]).transmit(target)
            with pytest.raises(TypeError, match="live capture"):
                await aiopcap.replay(source, target)
        assert [packet.data async for packet in capture] == [frame()]
