import sys
from collections.abc import Awaitable, Callable

import anyio

import aiopcap


async def keep_capturing(
    device: str, handle: Callable[[aiopcap.PacketBatch], Awaitable[None]]
) -> None:
    """Hand over batches, and open the device again whenever it comes back."""
    while True:
        try:
            async with await aiopcap.open_live(device) as capture:
                print(f"capturing on {device}", flush=True)
                async for batch in capture.batches():
                    await handle(batch)
        except aiopcap.InterfaceGoneError:
            print(f"{device} is gone", flush=True)
        except (aiopcap.NoSuchDeviceError, aiopcap.InterfaceDownError):
            await anyio.sleep(0.5)


async def show(batch: aiopcap.PacketBatch) -> None:
    for packet in batch:
        print(packet, flush=True)


if __name__ == "__main__":
    anyio.run(keep_capturing, sys.argv[1], show)
