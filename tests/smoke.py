"""Not a test but a program: an installed aiopcap reads a savefile on every backend there is.

The gate runs it in a clean environment that holds the wheel and nothing of the checkout.
"""

import importlib.util
import struct
import sys

import anyio

import aiopcap

FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + b"hello".ljust(46, b"\0")
NANOSECOND_PCAP = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
RECORD = struct.pack("<IIII", 1_700_000_000, 123_456_789, len(FRAME), len(FRAME)) + FRAME


async def main() -> None:
    async with await aiopcap.open_offline(NANOSECOND_PCAP + RECORD * 3) as capture:
        packets = [packet async for packet in capture]
    assert [packet.data for packet in packets] == [FRAME] * 3
    assert packets[0].timestamp_ns == 1_700_000_000_123_456_789


if __name__ == "__main__":
    backends = [name for name in ("asyncio", "trio") if importlib.util.find_spec(name)]
    for backend in backends:
        anyio.run(main, backend=backend)
    versions = f"aiopcap {aiopcap.__version__}, {aiopcap.libpcap_version()}"
    sys.stdout.write(f"{versions}: {' and '.join(backends)}\n")
