"""The folder in which the examples of the documentation run: it holds a small savefile."""

import contextlib
import struct
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

START_S = 1_700_000_000  # 2023-11-14 22:13:20 UTC
HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
CLIENT, SERVER, RESOLVER = "192.0.2.1", "198.51.100.7", "192.0.2.53"
UDP, TCP = 17, 6


def ethernet(ethertype: int, payload: bytes) -> bytes:
    addresses = bytes.fromhex("020000000001 020000000002")
    return (addresses + ethertype.to_bytes(2, "big") + payload).ljust(60, b"\0")


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return ethernet(0x0800, header + addresses + payload)


def udp(source: str, sport: int, destination: str, dport: int, payload: bytes) -> bytes:
    header = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return ipv4(source, destination, UDP, header + payload)


def tcp(source: str, sport: int, destination: str, dport: int, flags: int, size: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 5 << 4, flags, 65535, 0, 0)
    return ipv4(source, destination, TCP, header + b"." * size)


FRAMES = [
    ethernet(0x0806, bytes(28)),
    udp(CLIENT, 40000, RESOLVER, 53, b"where is it?"),
    udp(RESOLVER, 53, CLIENT, 40000, b"there"),
    tcp(CLIENT, 40001, SERVER, 443, 0x02, 0),
    tcp(SERVER, 443, CLIENT, 40001, 0x12, 0),
    tcp(CLIENT, 40001, SERVER, 443, 0x18, 517),
    tcp(SERVER, 443, CLIENT, 40001, 0x10, 1400),
    tcp(SERVER, 443, CLIENT, 40001, 0x10, 1400),
]


def savefile() -> bytes:
    """A pcap file with nanosecond time stamps, a packet every 250 ms and 1 ns."""
    content = HEADER
    for number, frame in enumerate(FRAMES):
        seconds, ns = divmod(number * 250_000_001, 1_000_000_000)
        content += struct.pack("<IIII", START_S + seconds, ns, len(frame), len(frame)) + frame
    return content


def enter_folder() -> contextlib.ExitStack:
    """Go to a new folder with the file traffic.pcap in it."""
    stack = contextlib.ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    stack.enter_context(contextlib.chdir(folder))
    Path("traffic.pcap").write_bytes(savefile())
    return stack


def leave_folder(stack: contextlib.ExitStack) -> None:
    """Go back, and remove the folder."""
    stack.close()
