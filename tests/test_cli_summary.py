"""What the command says of a packet in a few words."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopcap import LinkType, Packet
from aiopcap.cli._lines import LineFormat, hex_rows
from aiopcap.cli._summary import summary
from tests.support.frames import frame, udp_frame, vlan_frame

V6_A = bytes.fromhex("20010db8000000000000000000000001")
V6_B = bytes.fromhex("20010db8000000000000000000000002")
MACS = "02:00:00:00:00:02 > 02:00:00:00:00:01"


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, fragment, 64, protocol, 0)
    return start + bytes((192, 0, 2, 2)) + bytes((192, 0, 2, 1)) + payload


def ipv6(following: int, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + V6_A + V6_B + payload


def tcp(flags: int, payload: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", 443, 5000, 0, 0, 5 << 4, flags, 0, 0, 0) + payload


def ethernet(ethertype: int, payload: bytes) -> bytes:
    return frame(payload, ethertype=ethertype)


UDP = struct.pack("!HHHH", 5353, 53, 8 + 3, 0) + b"abc"

KNOWN = {
    "udp": (udp_frame(b"hello"), "UDP 192.0.2.2:40000 > 192.0.2.1:9 length 5"),
    "tcp": (
        ethernet(0x0800, ipv4(6, tcp(0x12, b"xyz"))),
        "TCP 192.0.2.2:443 > 192.0.2.1:5000 SYN,ACK length 3",
    ),
    "icmp": (ethernet(0x0800, ipv4(1, b"\x08\0")), "ICMP 192.0.2.2 > 192.0.2.1 echo request"),
    "fragment": (
        ethernet(0x0800, ipv4(17, b"data", fragment=185)),
        "IPv4 192.0.2.2 > 192.0.2.1 fragment at 1480",
    ),
    "another protocol": (
        ethernet(0x0800, ipv4(200, b"")),
        "protocol 200 192.0.2.2 > 192.0.2.1",
    ),
    "udp over ipv6": (
        ethernet(0x86DD, ipv6(17, UDP)),
        "UDP [2001:db8::1]:5353 > [2001:db8::2]:53 length 3",
    ),
    "an extension header": (
        ethernet(0x86DD, ipv6(0, bytes((17, 0)) + bytes(6) + UDP)),
        "UDP [2001:db8::1]:5353 > [2001:db8::2]:53 length 3",
    ),
    "an ipv6 fragment": (
        ethernet(0x86DD, ipv6(44, struct.pack("!BBHI", 17, 0, 1448, 7) + b"data")),
        "IPv6 2001:db8::1 > 2001:db8::2 fragment at 1448",
    ),
    "neighbour solicitation": (
        ethernet(0x86DD, ipv6(58, b"\x87\0")),
        "ICMPv6 2001:db8::1 > 2001:db8::2 neighbour solicitation",
    ),
    "arp": (ethernet(0x0806, b""), f"{MACS} ARP"),
    "an unknown ethertype": (ethernet(0x88B5, b""), f"{MACS} ethertype 0x88b5"),
    "a length instead of an ethertype": (ethernet(0x0026, b""), f"{MACS} LLC"),
    "vlan": (vlan_frame(vlan=7), f"vlan 7 {MACS} ethertype 0x88b5"),
    "vlan and ip": (
        vlan_frame(ipv4(17, UDP), vlan=7, ethertype=0x0800),
        "vlan 7 UDP 192.0.2.2:5353 > 192.0.2.1:53 length 3",
    ),
    "cut in the ports": (ethernet(0x0800, ipv4(17, b""))[:35], "UDP 192.0.2.2 > 192.0.2.1 [cut]"),
    "cut in the frame": (bytes(13), "[cut]"),
    "nothing": (b"", "[cut]"),
}


@pytest.mark.parametrize("what", KNOWN)
def test_ethernet(what: str) -> None:
    data, expected = KNOWN[what]
    assert summary(data, LinkType.EN10MB) == expected


@pytest.mark.parametrize(
    ("linktype", "before"),
    [
        (LinkType.RAW, b""),
        (LinkType.IPV4, b""),
        (LinkType.NULL, struct.pack("=I", 2)),
        (LinkType.LOOP, struct.pack("!I", 2)),
        (LinkType.LINUX_SLL, bytes(14) + b"\x08\0"),
        (LinkType.LINUX_SLL2, b"\x08\0" + bytes(18)),
    ],
)
def test_other_link_types(linktype: LinkType, before: bytes) -> None:
    expected = "UDP 192.0.2.2:5353 > 192.0.2.1:53 length 3"
    assert summary(before + ipv4(17, UDP), linktype) == expected


def test_a_link_type_that_it_does_not_know_is_named() -> None:
    assert summary(b"\0\0\0", LinkType.IEEE802_11) == "IEEE802_11"
    assert summary(b"\0\0\0", LinkType(4711)) == "UNKNOWN_4711"


@given(
    data=st.binary(max_size=120),
    linktype=st.sampled_from([*LinkType, None]),
    start=st.sampled_from([b"", bytes(12) + b"\x08\0\x45", bytes(12) + b"\x86\xdd\x60"]),
)
def test_any_bytes_give_one_printable_line(
    data: bytes, linktype: LinkType | None, start: bytes
) -> None:
    line = summary(start + data, linktype)
    assert line.isprintable()
    assert len(line) < 300


@given(cut=st.integers(0, 60), what=st.sampled_from(sorted(KNOWN)))
def test_a_cut_packet_gives_what_is_there(cut: int, what: str) -> None:
    data, whole = KNOWN[what]
    line = summary(data[:cut], LinkType.EN10MB)
    assert line == whole or line.endswith("[cut]") or "[cut]" in whole


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("utc", "2023-11-14T22:13:20.000000001Z"),
        ("epoch", "1700000000.000000001"),
    ],
)
def test_times_have_nanoseconds(clock: str, expected: str) -> None:
    lines = LineFormat(clock=clock, device=False, hex=False)
    assert lines.time(1_700_000_000_000_000_001) == expected


def test_times_before_1970_and_after_2038() -> None:
    lines = LineFormat(clock="utc", device=False, hex=False)
    assert lines.time(-1) == "1969-12-31T23:59:59.999999999Z"
    assert lines.time(2**32 * 1_000_000_000) == "2106-02-07T06:28:16.000000000Z"


def test_hex_shows_every_byte() -> None:
    rows = list(hex_rows(bytes(range(0x30, 0x42))))
    assert rows == [
        "    0000  3031 3233 3435 3637 3839 3a3b 3c3d 3e3f  0123456789:;<=>?\n",
        "    0010  4041                                     @A\n",
    ]


def test_a_packet_is_a_value_without_a_link_type_too() -> None:
    assert summary(Packet(b"abc").data, None) == ""
