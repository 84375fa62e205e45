import sys

import anyio

import aiopcap


def show(report: aiopcap.TransmitReport) -> None:
    print(f"{report.packets} packets, {report.packets_per_second:.0f} packets/s", flush=True)


async def main(path: str, device: str) -> None:
    async with await aiopcap.open_live(device, filter="less 0") as target:
        try:
            await aiopcap.replay(path, target, sync=True, progress=show, progress_interval=1)
        except aiopcap.SendError as error:
            print(f"packet {error.index}: {error.__cause__}; {error.packets} were sent before it")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
