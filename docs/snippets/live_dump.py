import sys

import anyio

import aiopcap


async def main(device: str, path: str) -> None:
    async with await aiopcap.open_live(device, filter="udp") as capture:
        dump = await capture.live_dump(path, max_bytes=100_000_000)
        with anyio.move_on_after(3600):
            while not dump.ended:
                print(f"{dump.packets} packets, {capture.statistics().dropped} dropped", flush=True)
                await anyio.sleep(0.5)
        report = await dump.stop()
        print(f"{report.packets} packets in {report.nbytes} bytes: {report.reason}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
