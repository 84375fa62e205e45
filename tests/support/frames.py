"""Ethernet frames as bytes.

Frames carry EtherType 0x88b5 (set aside by IEEE for local experiments) unless told otherwise:
no network stack answers it and nothing else on a link uses it.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

__all__ = [
    "EXPERIMENTAL",
    "FAR_MAC",
    "NEAR_MAC",
    "frame",
    "number_of",
    "numbered",
    "udp_frame",
    "vlan_frame",
]

EXPERIMENTAL = 0x88B5
_IPV4 = 0x0800
_VLAN = 0x8100
_UDP = 17

# Locally administered unicast addresses.
NEAR_MAC = bytes.fromhex("020000000001")
FAR_MAC = bytes.fromhex("020000000002")

_HEADER_LENGTH = 14


def frame(
    payload: bytes = b"",
    *,
    ethertype: int = EXPERIMENTAL,
    size: int = 60,
    destination: bytes = NEAR_MAC,
    source: bytes = FAR_MAC,
) -> bytes:
    """Make an Ethernet frame.

    Args:
        payload: What follows the 14-byte header.
        ethertype: The EtherType.
        size: Least length of the frame in bytes; shorter ones are padded with zeros.
        destination: Destination address, 6 bytes.
        source: Source address, 6 bytes.
    """
    return (destination + source + ethertype.to_bytes(2, "big") + payload).ljust(size, b"\0")


def numbered(count: int, size: int = 60, *, start: int = 0) -> list[bytes]:
    """Make ``count`` frames that carry their number, so that loss and repetition show."""
    return [frame(number.to_bytes(8, "big"), size=size) for number in range(start, start + count)]


def number_of(data: bytes) -> int:
    """Read back the number of a frame made by `numbered`."""
    return int.from_bytes(data[_HEADER_LENGTH : _HEADER_LENGTH + 8], "big")


def _internet_checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(
    payload: bytes = b"",
    *,
    source_port: int = 40000,
    destination_port: int = 9,
    source_address: str = "192.0.2.2",
    destination_address: str = "192.0.2.1",
    size: int = 60,
) -> bytes:
    """Make a frame with a UDP datagram over IPv4, checksums included.

    Args:
        payload: What the datagram carries.
        source_port: UDP source port.
        destination_port: UDP destination port.
        source_address: IPv4 source address.
        destination_address: IPv4 destination address.
        size: Least length of the frame in bytes.
    """
    addresses = IPv4Address(source_address).packed + IPv4Address(destination_address).packed
    length = 8 + len(payload)
    ports = struct.pack("!HHH", source_port, destination_port, length)
    pseudo_header = addresses + struct.pack("!BBH", 0, _UDP, length)
    checksum = _internet_checksum(pseudo_header + ports + b"\0\0" + payload) or 0xFFFF
    datagram = ports + checksum.to_bytes(2, "big") + payload
    ip_start = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 0, 0x4000, 64, _UDP)
    ip_checksum = _internet_checksum(ip_start + b"\0\0" + addresses)
    ip_header = ip_start + ip_checksum.to_bytes(2, "big") + addresses
    return frame(ip_header + datagram, ethertype=_IPV4, size=size)


def vlan_frame(
    payload: bytes = b"",
    *,
    vlan: int = 7,
    priority: int = 0,
    ethertype: int = EXPERIMENTAL,
    size: int = 64,
) -> bytes:
    """Make a frame with an 802.1Q tag.

    Args:
        payload: What follows the tag.
        vlan: VLAN identifier, 0 to 4095.
        priority: Priority code point, 0 to 7.
        ethertype: The EtherType inside the tag.
        size: Least length of the frame in bytes.
    """
    tag = struct.pack("!HH", priority << 13 | vlan, ethertype)
    return frame(tag + payload, ethertype=_VLAN, size=size)
