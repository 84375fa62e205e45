"""The devices that can be captured from."""

import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from aiopcap._core.constants import DeviceFlags, SourceType
from aiopcap._core.errors import PcapError, error_from_status, text
from aiopcap._core.sourcestring import SourceString
from aiopcap._native import ffi, lib

Address = ipaddress.IPv4Address | ipaddress.IPv6Address | str
_PARSERS: dict[int, Any] = {1: ipaddress.IPv4Address, 2: ipaddress.IPv6Address, 3: str}


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """One address of a device.

    Attributes:
        address: An IPv4 or IPv6 address, or the link-layer address as text ("02:00:5e:…").
        netmask: Its netmask, where it has one.
        broadcast: The broadcast address, where it has one.
        destination: The other end's address, on a point-to-point device.
    """

    address: Address | None
    netmask: Address | None = None
    broadcast: Address | None = None
    destination: Address | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that can be captured from, or a savefile, as `findalldevs` lists it.

    Attributes:
        name: What `open_live` takes, or `open` where `findalldevs` was given a source.
        description: A text for people, where the system has one.
        addresses: Its addresses.
        flags: What is known of its state.
    """

    name: str
    description: str | None
    addresses: tuple[DeviceAddress, ...]
    flags: DeviceFlags


def _address(pointer: Any) -> Address | None:
    room = ffi.new("char[64]")
    kind = lib.aiopcap_address_text(pointer, room, len(room))
    return _PARSERS[kind](text(room)) if kind else None


def _chain(first: Any) -> Iterator[Any]:
    while first:
        yield first
        first = first.next


def _device_address(entry: Any) -> DeviceAddress:
    return DeviceAddress(
        *map(_address, (entry.addr, entry.netmask, entry.broadaddr, entry.dstaddr))
    )


def findalldevs() -> list[Device]:
    """List the devices; blocks for a few milliseconds (pcap_findalldevs(3PCAP))."""
    errors = ffi.new("char[]", lib.PCAP_ERRBUF_SIZE)
    head = ffi.new("pcap_if_t **")
    if lib.pcap_findalldevs(head, errors) < 0:
        raise PcapError(text(errors))
    devices = ffi.gc(head[0], lib.pcap_freealldevs) if head[0] else None
    return [
        Device(
            text(entry.name),
            text(entry.description) or None,
            tuple(
                found
                for found in map(_device_address, _chain(entry.addresses))
                if found.address is not None
            ),
            DeviceFlags(entry.flags),
        )
        for entry in _chain(devices)
    ]


def as_source_string(device: Device) -> Device:
    """Return a device as pcap_findalldevs_ex lists it."""
    return replace(
        device,
        name=str(SourceString(SourceType.LOCAL, name=device.name)),
        description=f"Network adapter '{device.description or device.name}' on local host",
    )


def lookupnet(device: str) -> ipaddress.IPv4Network:
    """Return a device's IPv4 network (pcap_lookupnet(3PCAP))."""
    name = device_name(device)
    if device != "any":
        # libpcap cuts a name that is too long, and answers for whatever device has the rest.
        try:
            socket.if_nametoindex(device)
        except OSError:
            code = lib.PCAP_ERROR_NO_SUCH_DEVICE
            raise error_from_status(code, "", device) from None
    errors = ffi.new("char[]", lib.PCAP_ERRBUF_SIZE)
    network, netmask = ffi.new("unsigned int *"), ffi.new("unsigned int *")
    status = lib.pcap_lookupnet(name, network, netmask, errors)
    if status < 0:
        raise error_from_status(status, text(errors), device)
    # Both are in network order, as they lie in memory.
    address, mask = (
        int.from_bytes(number[0].to_bytes(4, sys.byteorder), "big") for number in (network, netmask)
    )
    return ipaddress.IPv4Network((address, str(ipaddress.IPv4Address(mask))))


def device_name(device: str) -> bytes:
    """Return a device's name as C takes it.

    Raises:
        NoSuchDeviceError: If no device can have that name.
    """
    if not isinstance(device, str):
        raise TypeError(f"a device is named by a str, not by {type(device).__name__}")
    try:
        name = device.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        name = b""
    if not name or b"\0" in name:
        raise error_from_status(lib.PCAP_ERROR_NO_SUCH_DEVICE, "", device or "''")
    return name
