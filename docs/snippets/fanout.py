import multiprocessing
import os
import sys

import anyio

import aiopcap

GROUP = 7


async def work(number: int, device: str, seconds: float) -> None:
    fanout = (GROUP, aiopcap.FanoutMode.HASH)
    packets = 0
    async with await aiopcap.open_live(device, fanout=fanout) as capture:
        with anyio.move_on_after(seconds):
            async for batch in capture.batches():
                packets += len(batch)
        print(f"worker {number}: {packets} packets, {capture.statistics().dropped} dropped")


def start(number: int, device: str, seconds: float) -> None:
    anyio.run(work, number, device, seconds)


if __name__ == "__main__":
    device, seconds = sys.argv[1], float(sys.argv[2])
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=start, args=(number, device, seconds))
        for number in range(os.cpu_count() or 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
