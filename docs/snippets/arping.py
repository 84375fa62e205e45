import sys
from ipaddress import IPv4Address
from pathlib import Path

import anyio

import aiopcap


def request(own: bytes, address: IPv4Address) -> bytes:
    ethernet = b"\xff" * 6 + own + b"\x08\x06"
    question = bytes.fromhex("0001 0800 06 04 0001") + own + bytes(4)
    return ethernet + question + bytes(6) + address.packed


def own_address(device: str) -> bytes:
    return bytes.fromhex(Path(f"/sys/class/net/{device}/address").read_text().replace(":", " "))


async def main(device: str, address: str) -> None:
    question = request(own_address(device), IPv4Address(address))
    async with await aiopcap.open_live(device, filter=f"arp src host {address}") as capture:
        await capture.send(question)
        with anyio.fail_after(3):
            answer = await capture.receive()
    print(answer.data[22:28].hex(":"))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
