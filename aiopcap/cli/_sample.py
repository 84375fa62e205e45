"""UDP datagrams as packets, made by hand: what the demo captures where it may not capture."""

import socket
import struct

from aiopcap import LinkType, Packet

_IPV4 = 0x0800
_HEADER_BYTES = 20


def datagram(payload: bytes, ports: tuple[int, int], *, timestamp_ns: int) -> Packet:
    """Return a datagram from and to 127.0.0.1, as a loopback device would show it.

    Args:
        payload: The datagram's contents.
        ports: The source and the destination port.
        timestamp_ns: When it is said to have been sent.
    """
    # A loopback device has no addresses of its own. The checksum 0 means that there is none.
    ethernet = struct.pack("!12xH", _IPV4)
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    data = ethernet + _ipv4_header(len(udp) + len(payload)) + udp + payload
    return Packet(data, timestamp_ns=timestamp_ns, linktype=LinkType.EN10MB)


def _ipv4_header(length: int) -> bytes:
    localhost = socket.inet_aton("127.0.0.1")
    version_and_size, ttl = 0x45, 64
    header: bytes = struct.pack(
        "!BxHxxxxBBH4s4s",
        version_and_size,
        _HEADER_BYTES + length,
        ttl,
        socket.IPPROTO_UDP,
        0,
        localhost,
        localhost,
    )
    total: int = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header[:10] + checksum.to_bytes(2, "big") + header[12:]
