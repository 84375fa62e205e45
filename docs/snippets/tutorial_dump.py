import anyio

import aiopcap


async def send_three() -> None:
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
        for number in range(3):
            await udp.sendto(f"hello {number}".encode(), "127.0.0.1", 9)


async def main() -> None:
    async with await aiopcap.open_live("lo", filter="udp port 9") as capture:
        async with await capture.dump_open("first.pcap") as dumper:
            await send_three()
            with anyio.move_on_after(0.5):
                async for packet in capture:
                    await dumper.send(packet)
        print(capture.statistics())


if __name__ == "__main__":
    anyio.run(main)
