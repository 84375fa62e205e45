import sys

import anyio

import aiopcap


async def main(path: str, device: str) -> None:
    queue = aiopcap.SendQueue()
    async with await aiopcap.open_offline(path) as capture:
        await queue.extend_from(capture)
    async with await aiopcap.open_live(device, filter="less 0") as target:
        with anyio.move_on_after(0.5):
            await queue.transmit(target, pps=4)
        report = queue.last_report
        assert report is not None
        print("paused before packet", report.next_index, flush=True)
        report = await queue.transmit(target, start=report.next_index)
        print("sent the other", report.packets)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
