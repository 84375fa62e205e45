"""What a packet is, in a few words: who sends to whom, by which protocol.

Just enough to recognise a packet in a list; this is not a dissector. A packet that was cut, or
lies about its lengths, gives what could be read and the word [cut].
"""

import socket
from collections.abc import Callable
from struct import error as struct_error
from struct import unpack_from

from aiopcap import LinkType

# Raised by whatever reads past the end.
_PAST_END = (struct_error, IndexError)

_ETHERTYPES = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x8847: "MPLS",
    0x8848: "MPLS",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88E5: "MACsec",
    0x88F7: "PTP",
}
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = {0x8100, 0x88A8, 0x9100}

_PROTOCOLS = {2: "IGMP", 41: "IPv6", 47: "GRE", 50: "ESP", 51: "AH", 89: "OSPF", 112: "VRRP"}
_WITH_PORTS = {6: "TCP", 17: "UDP", 132: "SCTP", 136: "UDPLite"}
_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_ICMPV6 = {
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "listener report",
}
_TCP_FLAGS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"))

# Extension headers that say their own length in units of 8 bytes: hop by hop, routing, options.
_IPV6_EXTENSIONS = {0, 43, 60}
_IPV6_FRAGMENT = 44

Decoder = Callable[[bytes, int, list[str]], None]


def summary(data: bytes, linktype: LinkType | None) -> str:
    """Return a packet in a few words."""
    words: list[str] = []
    try:
        _DECODERS.get(linktype, _unknown)(data, 0, words)
    except _PAST_END:
        words.append("[cut]")
    if not words and linktype is not None:
        words.append(linktype.name)
    return " ".join(words)


def _unknown(data: bytes, at: int, words: list[str]) -> None:
    """Say nothing: the link type's name is all that is known."""


def _ethernet(data: bytes, at: int, words: list[str]) -> None:
    (kind,) = unpack_from("!H", data, at + 12)
    at += 14
    while kind in _VLAN_TAGS:
        tag, inner = unpack_from("!HH", data, at)
        words.append(f"vlan {tag & 0xFFF}")
        kind = inner
        at += 4
    if kind not in {_IPV4, _IPV6}:
        words.append(f"{data[6:12].hex(':')} > {data[:6].hex(':')}")
    _network(kind, data, at, words)


def _network(kind: int, data: bytes, at: int, words: list[str]) -> None:
    if kind == _IPV4:
        _ipv4(data, at, words)
    elif kind == _IPV6:
        _ipv6(data, at, words)
    elif kind < 0x600:
        words.append("LLC")
    else:
        words.append(_ETHERTYPES.get(kind) or f"ethertype 0x{kind:04x}")


def _ipv4(data: bytes, at: int, words: list[str]) -> None:
    size = (data[at] & 15) * 4
    total, _, fragment, _, protocol = unpack_from("!HHHBB", data, at + 2)
    source, destination = unpack_from("!4s4s", data, at + 12)
    names = (
        socket.inet_ntop(socket.AF_INET, source),
        socket.inet_ntop(socket.AF_INET, destination),
    )
    if fragment & 0x1FFF:
        words.append(f"IPv4 {names[0]} > {names[1]} fragment at {(fragment & 0x1FFF) * 8}")
    else:
        _transport(protocol, data, at + size, total - size, names, words)


def _ipv6(data: bytes, at: int, words: list[str]) -> None:
    length, following = unpack_from("!HB", data, at + 4)
    source, destination = unpack_from("!16s16s", data, at + 8)
    names = (
        socket.inet_ntop(socket.AF_INET6, source),
        socket.inet_ntop(socket.AF_INET6, destination),
    )
    at += 40
    while following in _IPV6_EXTENSIONS:
        size = (data[at + 1] + 1) * 8
        following = data[at]
        at += size
        length -= size
    if following == _IPV6_FRAGMENT:
        following, _, offset = unpack_from("!BBH", data, at)
        if offset >> 3:
            words.append(f"IPv6 {names[0]} > {names[1]} fragment at {offset & 0xFFF8}")
            return
        at += 8
        length -= 8
    _transport(following, data, at, length, names, words)


def _transport(
    protocol: int,
    data: bytes,
    at: int,
    length: int,
    names: tuple[str, str],
    words: list[str],
) -> None:
    source, destination = names
    if protocol in _WITH_PORTS:
        words.append(_WITH_PORTS[protocol])
        ports_at = len(words)
        words.append(f"{source} > {destination}")
        source_port, destination_port = unpack_from("!HH", data, at)
        if ":" in source:
            source, destination = f"[{source}]", f"[{destination}]"
        words[ports_at] = f"{source}:{source_port} > {destination}:{destination_port}"
        _after_ports(protocol, data, at, length, words)
        return
    icmp = {1: ("ICMP", _ICMP), 58: ("ICMPv6", _ICMPV6)}.get(protocol)
    if icmp is None:
        name = _PROTOCOLS.get(protocol) or f"protocol {protocol}"
        words.append(f"{name} {source} > {destination}")
        return
    words.append(f"{icmp[0]} {source} > {destination}")
    words.append(icmp[1].get(data[at]) or f"type {data[at]}")


def _after_ports(protocol: int, data: bytes, at: int, length: int, words: list[str]) -> None:
    if protocol == socket.IPPROTO_UDP:
        (udp_length,) = unpack_from("!H", data, at + 4)
        words.append(f"length {max(udp_length - 8, 0)}")
    elif protocol == socket.IPPROTO_TCP:
        offset, flags = unpack_from("!BB", data, at + 12)
        words.append(",".join(name for bit, name in _TCP_FLAGS if flags & bit) or "no flags")
        words.append(f"length {max(length - (offset >> 4) * 4, 0)}")


def _ip(data: bytes, at: int, words: list[str]) -> None:
    version = data[at] >> 4
    if version == 4:
        _ipv4(data, at, words)
    elif version == 6:
        _ipv6(data, at, words)


def _after_family(data: bytes, at: int, words: list[str]) -> None:
    """The BSDs' loopback: an address family, whose numbers differ, and then IP says itself."""
    _ip(data, at + 4, words)


def _cooked(data: bytes, at: int, words: list[str]) -> None:
    (kind,) = unpack_from("!H", data, at + 14)
    _network(kind, data, at + 16, words)


def _cooked_v2(data: bytes, at: int, words: list[str]) -> None:
    (kind,) = unpack_from("!H", data, at)
    _network(kind, data, at + 20, words)


_DECODERS: dict[LinkType | None, Decoder] = {
    LinkType.EN10MB: _ethernet,
    LinkType.NULL: _after_family,
    LinkType.LOOP: _after_family,
    LinkType.RAW: _ip,
    LinkType.IPV4: _ip,
    LinkType.IPV6: _ip,
    LinkType.LINUX_SLL: _cooked,
    LinkType.LINUX_SLL2: _cooked_v2,
}
