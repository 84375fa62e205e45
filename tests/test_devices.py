"""The list of devices agrees with what iproute2 says of the same machine."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aiopcap
from aiopcap import Device, DeviceFlags, findalldevs, lookupnet

from .support.veth import Veth
from .support_live import BACKENDS, run_program

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="iproute2 is Linux's"),
]


def ip(*arguments: str) -> list[dict[str, Any]]:
    run = subprocess.run(["ip", "-j", *arguments], check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(run.stdout or "[]")
    return found


async def find(name: str) -> Device:
    (device,) = [device for device in await findalldevs() if device.name == name]
    return device


@pytest.fixture
def addressed(veth: Veth) -> Veth:
    """A device with addresses of several kinds."""
    ip("address", "add", "198.51.100.1/24", "broadcast", "198.51.100.255", "dev", veth.near)
    ip("address", "add", "203.0.113.9/29", "dev", veth.near)
    switch = Path("/proc/sys/net/ipv6/conf", veth.near, "disable_ipv6")
    if switch.exists():
        switch.write_text("0")
        ip("address", "add", "2001:db8::1/64", "dev", veth.near, "nodad")
    return veth


async def test_devices_are_those_of_the_machine(veth: Veth) -> None:
    before = {link["ifname"]: link["flags"] for link in ip("link")}
    devices = {device.name: device for device in await findalldevs()}
    after = {link["ifname"]: link["flags"] for link in ip("link")}
    assert {veth.near, "lo"} <= devices.keys()
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            continue  # it changed meanwhile
        flags = devices[name].flags
        assert bool(flags & DeviceFlags.UP) == ("UP" in before[name])
        assert bool(flags & DeviceFlags.LOOPBACK) == ("LOOPBACK" in before[name])
        assert bool(flags & DeviceFlags.RUNNING) == (
            "UP" in before[name] and "NO-CARRIER" not in before[name]
        )
        assert not flags & DeviceFlags.WIRELESS


async def test_addresses_are_those_of_the_machine(addressed: Veth) -> None:
    device = await find(addressed.near)
    (expected,) = ip("address", "show", addressed.near)
    wanted = set()
    for info in expected["addr_info"]:
        address = ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}")
        broadcast = info.get("broadcast")
        wanted.add((address.ip, address.netmask, broadcast and ipaddress.ip_address(broadcast)))
    assert len(wanted) >= 2
    found = set()
    for entry in device.addresses:
        if isinstance(entry.address, str):
            assert entry.address == expected["address"]
            continue
        # The system gives an address without a broadcast address its own as such.
        broadcast = None if entry.broadcast == entry.address else entry.broadcast
        found.add((entry.address, entry.netmask, broadcast))
        assert entry.destination is None
    assert found == wanted
    kinds = {type(entry.address) for entry in device.addresses}
    assert kinds >= {ipaddress.IPv4Address, str}


async def test_a_link_that_goes_down_shows(veth: Veth) -> None:
    assert (await find(veth.near)).flags & DeviceFlags.UP
    veth.set_link(False)
    assert not (await find(veth.near)).flags & DeviceFlags.UP
    veth.set_link(True)
    veth.set_link(False, "far")
    # The kernel tells the near end of it in its own time.
    with anyio.fail_after(10):
        while (flags := (await find(veth.near)).flags) & DeviceFlags.RUNNING:
            await anyio.lowlevel.checkpoint()
    assert flags & DeviceFlags.UP
    assert flags & DeviceFlags.CONNECTION_NOT_APPLICABLE == DeviceFlags.DISCONNECTED


async def test_the_device_of_all_devices_is_listed() -> None:
    device = await find("any")
    assert device.description
    assert device.addresses == ()


async def test_loopback() -> None:
    device = await find("lo")
    assert device.flags & DeviceFlags.LOOPBACK
    assert {ipaddress.ip_address("127.0.0.1")} <= {entry.address for entry in device.addresses}


async def test_the_other_end_of_a_point_to_point_device() -> None:
    name = "aiopcap-ptp"
    made = subprocess.run(
        ["ip", "tuntap", "add", name, "mode", "tun"], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"no tun device: {made.stderr.strip()}")
    try:
        ip("address", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", name)
        ip("link", "set", name, "up")
        (entry,) = [
            entry
            for entry in (await find(name)).addresses
            if isinstance(entry.address, ipaddress.IPv4Address)
        ]
        assert entry.address == ipaddress.ip_address("198.51.100.1")
        assert entry.destination == ipaddress.ip_address("198.51.100.2")
        assert entry.broadcast is None
    finally:
        ip("link", "delete", name)


async def test_devices_are_values() -> None:
    first, second = await find("lo"), await find("lo")
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.name = "other"  # type: ignore[misc]


async def test_the_network_of_a_device(addressed: Veth) -> None:
    assert await lookupnet(addressed.near) == ipaddress.ip_network("198.51.100.0/24")
    assert await lookupnet("lo") == ipaddress.ip_network("127.0.0.0/8")


async def test_a_device_without_an_address_has_no_network(veth: Veth) -> None:
    with pytest.raises(aiopcap.PcapError, match=veth.near):
        await lookupnet(veth.near)


@pytest.mark.parametrize("name", ["no-such-device", "", "a\0b", "\x1b[2J", "\ud800x"], ids=ascii)
async def test_a_missing_device_has_no_network(name: str) -> None:
    with pytest.raises(aiopcap.NoSuchDeviceError):
        await lookupnet(name)


async def test_a_name_that_is_too_long_is_not_cut_to_one_that_exists(addressed: Veth) -> None:
    # 15 characters are what the kernel has room for.
    name = (addressed.near + "x" * 15)[:15]
    ip("link", "set", addressed.near, "down")
    ip("link", "set", addressed.near, "name", name)
    try:
        ip("link", "set", name, "up")
        assert (await lookupnet(name)).prefixlen == 24
        with pytest.raises(aiopcap.PcapError):
            await lookupnet(name + "y")
    finally:
        ip("link", "delete", name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_privilege_devices_can_be_listed(backend: str) -> None:
    run_program("privileges", "list_devices", backend)
