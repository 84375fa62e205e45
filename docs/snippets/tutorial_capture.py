import anyio

import aiopcap


async def send_three() -> None:
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
        for number in range(3):
            await udp.sendto(f"hello {number}".encode(), "127.0.0.1", 9)


async def main() -> None:
    async with await aiopcap.open_live("lo", filter="udp port 9") as capture:
        await send_three()
        seen = 0
        async for packet in capture:
            print(packet.datetime, packet.wire_length, packet.data[42:])
            seen += 1
            if seen == 3:
                break


if __name__ == "__main__":
    anyio.run(main)
