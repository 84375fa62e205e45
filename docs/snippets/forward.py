import sys

import anyio

import aiopcap


async def main(source: str, target: str) -> None:
    async with (
        await aiopcap.open_live(source, direction="in") as capture,
        await aiopcap.open_live(target, filter="less 0") as out,
    ):
        print("forwarding", flush=True)
        async for batch in capture.batches():
            await out.send_batch(batch)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
