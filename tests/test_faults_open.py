"""What cannot be opened: a clear error of the right type, and nothing left of the attempt."""

from __future__ import annotations

import errno
import math
import resource
import socket
import subprocess
import warnings
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import open_live

from .support.frames import frame
from .support.resources import open_descriptors, resources
from .support.veth import Veth
from .support_live import BACKENDS, run_program, take

pytestmark = pytest.mark.anyio

MISSING = "no-such-device"

CONTROL = [chr(number) for number in [*range(32), 127]]


async def test_a_missing_device() -> None:
    with pytest.raises(aiopcap.NoSuchDeviceError, match=MISSING) as caught:
        await open_live(MISSING)
    assert caught.value.code == -5
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENODEV


async def test_a_device_that_is_down(veth: Veth) -> None:
    veth.set_link(False)
    with pytest.raises(aiopcap.InterfaceDownError, match=veth.near) as caught:
        await open_live(veth.near)
    assert caught.value.code == -9
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENETDOWN
    veth.set_link(True)
    async with await open_live(veth.near) as capture:
        veth.send(frame())
        await take(capture, 1)


@pytest.mark.net
@pytest.mark.parametrize("expression", ["no such thing", "port 99999", "((", "tcp[", "host \0"])
async def test_a_wrong_filter(expression: str) -> None:
    with pytest.raises(aiopcap.FilterError) as caught:
        await open_live("lo", filter=expression)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value)
    assert not any(character in str(caught.value) for character in CONTROL)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "\0",
        "lo\0",
        "lo\n",
        " lo",
        "\x1b[2J\x07",
        "x" * 16,
        "x" * 100_000,
        "ä" * 8,
        "設備",
        "\udcff",
        "lo\ud800",
        "..",
        "/etc/passwd",
        "%s%n",
        "-",
    ],
    ids=ascii,
)
async def test_odd_names_are_names_of_no_device(name: str) -> None:
    with pytest.raises(aiopcap.NoSuchDeviceError) as caught:
        await open_live(name)
    text = str(caught.value)
    text.encode()
    assert not any(character in text for character in CONTROL)
    assert len(text) < 1000


@pytest.mark.parametrize("name", [b"lo", 1, None, ["lo"]])
async def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises((TypeError, aiopcap.NoSuchDeviceError)) as caught:
        await open_live(name)
    assert "str" in str(caught.value) or "device" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[
            ("buffer_timeout", value)
            for value in (0, -1, 0.0, -0.001, math.inf, -math.inf, math.nan, 2**31, 1e300, 10**400)
        ],
        *[("snaplen", value) for value in (0, -1, 2**31, 2**64)],
        *[("buffer_size", value) for value in (0, -1, 2**31, 2**64)],
        *[("fanout", value) for value in ((-1, 0), (65536, 0), (1, -1), (1, 65536))],
        ("direction", "sideways"),
        ("timestamp_type", "sundial"),
    ],
)
async def test_options_out_of_range(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"(?i){option.partition('_')[0]}"):
        # Refused before anything is opened, or this were another error.
        await open_live(MISSING, **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("buffer_timeout", None),
        ("buffer_timeout", "1"),
        ("snaplen", 1.5),
        ("snaplen", None),
        ("buffer_size", 1.5),
        ("filter", b"udp"),
        ("filter", 5),
        ("fanout", 5),
    ],
)
@pytest.mark.net
async def test_options_of_the_wrong_type(option: str, value: Any) -> None:
    with pytest.raises(TypeError):
        await open_live("lo", **{option: value})


async def test_the_largest_values_are_taken(veth: Veth) -> None:
    async with await open_live(veth.near, snaplen=2**31 - 1, buffer_timeout=1000) as capture:
        assert capture.snaplen >= 262144
    async with await open_live(veth.near, buffer_size=1, immediate=True) as capture:
        veth.send(frame())
        assert (await take(capture, 1))[0].data == frame()


async def test_failed_opens_leave_nothing(veth: Veth) -> None:
    async def fail(**options: Any) -> None:
        with pytest.raises((aiopcap.PcapError, ValueError, TypeError)):
            await open_live(**options)

    async def fail_in_each_way() -> None:
        await fail(device=MISSING)
        await fail(device=veth.near, filter="no such thing")
        await fail(device=veth.near, filter=5)
        await fail(device=veth.near, rfmon=True)
        await fail(device=veth.near, snaplen=1.5)
        await fail(device=veth.near, fanout=(1, 99))
        await fail(device=veth.near, direction=None)
        veth.set_link(False)
        await fail(device=veth.near)
        veth.set_link(True)

    await fail_in_each_way()
    before = resources()
    for _ in range(5):
        await fail_in_each_way()
    after = resources()
    assert after.descriptors <= before.descriptors
    assert after.mappings - before.mappings < 10
    assert after.resident_bytes - before.resident_bytes < 4 * 2**20


async def test_a_warning_that_is_an_error_leaves_nothing(veth: Veth) -> None:
    before = open_descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("error", aiopcap.PcapWarning)
        with pytest.raises(aiopcap.PcapWarning):
            await open_live(veth.near, timestamp_type="adapter")
    assert open_descriptors().keys() == before.keys()


async def test_no_descriptor_left(veth: Veth) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    await anyio.to_thread.run_sync(lambda: None)  # the worker thread is there
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(aiopcap.PcapError, match="Too many open files"):
            await open_live(veth.near)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    async with await open_live(veth.near) as capture:
        veth.send(frame())
        await take(capture, 1)


async def test_devices_that_are_no_network_interfaces() -> None:
    """libpcap lists more than network interfaces; they open, or say why they do not."""
    interfaces = {name for _, name in socket.if_nameindex()} | {"any"}
    before = open_descriptors()
    for device in await aiopcap.findalldevs():
        if device.name in interfaces:
            continue
        with anyio.fail_after(10):
            try:
                capture = await open_live(device.name)
            except aiopcap.PcapError as error:
                assert device.name in str(error)  # noqa: PT017 - not each fails
                continue
            async with capture:
                assert capture.linktype.name
                with anyio.move_on_after(0.05):
                    await capture.receive()
    assert open_descriptors().keys() == before.keys()


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_memory_for_the_buffer(backend: str) -> None:
    run_program("limits", "no_memory_for_the_buffer", backend)


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
def test_without_the_privilege_the_error_says_which(backend: str) -> None:
    run_program("privileges", "refused", backend)


@pytest.mark.net
def test_the_advice_of_that_error_holds() -> None:
    """With the one capability that it names, and no other, a capture works."""
    prefix = ("setpriv", "--bounding-set", "-all,+net_raw")
    only = subprocess.run([*prefix, "true"], check=False, capture_output=True)
    if only.returncode != 0:
        pytest.skip(f"setpriv: {only.stderr.decode()}")
    run_program("privileges", "capture_loopback", "asyncio", prefix=prefix)
