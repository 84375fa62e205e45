import anyio

import aiopcap


async def main() -> None:
    async with await aiopcap.open_live("any", filter="udp port 9") as capture:
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
            await udp.sendto(b"hello", "127.0.0.1", 9)
        async for packet in capture:
            print(packet.interface, packet.timestamp_ns, packet.wire_length)
            break


if __name__ == "__main__":
    anyio.run(main)
