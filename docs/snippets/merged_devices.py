import sys

import anyio

import aiopcap


async def main(*devices: str) -> None:
    captures = [await aiopcap.open_live(device) for device in devices]
    async with aiopcap.merge(*captures) as merged:
        print(f"capturing on {', '.join(devices)}", flush=True)
        async for packet in merged:
            print(f"{packet.datetime:%T.%f} {packet.interface}: {len(packet)} bytes", flush=True)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
