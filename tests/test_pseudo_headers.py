"""Packets that begin with the capturing machine's numbers, from a machine of the other byte order.

tcpdump copies such a file through libpcap's reader, which turns the numbers round; what aiopcap
makes of the same file has to be the same bytes.
"""

import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import aiopcap
from aiopcap import LinkType
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.witnesses import require_program

pytestmark = pytest.mark.anyio

dice = random.Random(20)


def usb(header: int, transfer_type: int, descriptors: int = 0) -> bytes:
    """A usbmon record; the lengths inside are noise, which nobody reads."""
    noise = bytearray(dice.randbytes(header + 16 * descriptors + 5))
    noise[9] = transfer_type
    noise[60:64] = struct.pack(">I", descriptors) if header == 64 else noise[60:64]
    return bytes(noise)


def nflog(*values: bytes) -> bytes:
    """A netfilter log record of version 0."""
    parts = [b"\x02\x00\x00\x00"]
    for number, value in enumerate(values):
        padding = b"\0" * (-len(value) % 4)
        parts.append(struct.pack(">HH", 4 + len(value), number) + value + padding)
    return b"".join(parts)


PACKETS: dict[LinkType, Callable[[], list[bytes]]] = {
    LinkType.USB_LINUX: lambda: [usb(48, kind) for kind in (0, 1, 2, 3)],
    LinkType.USB_LINUX_MMAPPED: lambda: [usb(64, kind, 3) for kind in (0, 1, 2, 3)],
    LinkType.NFLOG: lambda: [nflog(b"abcd"), nflog(b"", b"abc", b"abcdefgh"), b"\x02\x01\x00\x00"],
}


@pytest.mark.parametrize("linktype", PACKETS, ids=lambda linktype: linktype.name)
async def test_big_endian_pseudo_headers_are_turned_as_libpcap_turns_them(
    linktype: LinkType, tmp_path: Path
) -> None:
    whole = PACKETS[linktype]()
    packets = [*whole, *(whole[0][:size] for size in range(0, len(whole[0]), 3))]
    data = pcap_bytes(records(packets), order="big", linktype=linktype)
    expected = subprocess.run(
        [require_program("tcpdump"), "-r", "-", "-w", "-"],
        input=data,
        capture_output=True,
        check=True,
    ).stdout

    copy = tmp_path / "copy.pcap"
    async with (
        await aiopcap.open_offline(data) as capture,
        await capture.dump_open(copy, precision="micro") as dumper,
    ):
        async for batch in capture.batches():
            await dumper.send_batch(batch)

    assert copy.read_bytes() == expected
