"""Captures of processes with little privilege."""

import errno
import os
import socket

import anyio
import pytest

import aiopcap
from aiopcap import open_live
from tests.live_programs import main
from tests.support.frames import frame, number_of, numbered
from tests.support.veth import Veth, veth_pair

NOBODY = 65534


def drop() -> None:
    """Become nobody, for good."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


async def refused() -> None:
    """Without CAP_NET_RAW nothing can be opened, and the error says what to do."""
    drop()
    for device in ("lo", "any"):
        with pytest.raises(aiopcap.PermissionDeniedError, match=device) as caught:
            await open_live(device)
        assert isinstance(caught.value, PermissionError)
        assert caught.value.code == -8
        assert caught.value.errno in (errno.EPERM, errno.EACCES)
        assert "CAP_NET_RAW" in str(caught.value)
        assert "setcap" in str(caught.value)
    # What needs no privilege still works.
    assert not aiopcap.compile("udp").matches(frame())


async def list_devices() -> None:
    """The list of devices is for everybody."""
    drop()
    assert "lo" in {device.name for device in await aiopcap.findalldevs()}
    assert str(await aiopcap.lookupnet("lo")) == "127.0.0.0/8"


async def open_then_drop() -> None:
    """What was opened before the privilege was dropped goes on as before."""
    with veth_pair() as veth:
        # Packets that come later have to be sent by a socket that was opened before, too.
        veth.send(frame())
        async with await open_live(veth.near) as capture:
            drop()
            assert os.getuid() == NOBODY
            await _use(veth, capture)
            with pytest.raises(aiopcap.PermissionDeniedError):
                await open_live(veth.near)
        with pytest.raises(anyio.ClosedResourceError):
            capture.receive_nowait()


async def _use(veth: Veth, capture: aiopcap.LiveCapture) -> None:
    with anyio.fail_after(10):
        veth.send(numbered(10))
        for number in range(10):
            assert number_of((await capture.receive()).data) == number
        assert capture.statistics().received == 10
        await capture.set_filter("greater 100")
        veth.send(numbered(10) + numbered(10, 200, start=10))
        for number in range(10, 20):
            assert number_of((await capture.receive()).data) == number
        with pytest.raises(aiopcap.FilterError):
            await capture.set_filter("no such thing")
        await capture.set_filter(None)
        veth.send(numbered(1))
        assert number_of((await capture.receive_batch())[0].data) == 0
        assert capture.datalinks()


async def capture_loopback() -> None:
    """A capture of the loopback device, on whatever privilege there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        async with await open_live("lo", filter=f"udp port {port}") as capture:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"loop", receiver.getsockname())
            with anyio.fail_after(10):
                assert (await capture.receive()).data.endswith(b"loop")


if __name__ == "__main__":
    main(refused, list_devices, open_then_drop, capture_loopback)
