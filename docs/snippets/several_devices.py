import sys

import anyio
from anyio.streams.memory import MemoryObjectSendStream

import aiopcap

Found = tuple[str, aiopcap.PacketBatch]


async def capture_from(device: str, found: MemoryObjectSendStream[Found]) -> None:
    async with found, await aiopcap.open_live(device) as capture:
        print(f"capturing on {device}", flush=True)
        async for batch in capture.batches():
            await found.send((device, batch))


async def main(*devices: str) -> None:
    send, receive = anyio.create_memory_object_stream[Found](max_buffer_size=16)
    async with anyio.create_task_group() as tasks, receive:
        async with send:
            for device in devices:
                tasks.start_soon(capture_from, device, send.clone())
        async for device, batch in receive:
            print(f"{device}: {len(batch)} packets, {batch.nbytes} bytes", flush=True)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
