"""Print packets from a device, and count them beside it, until Ctrl-C.

    python examples/capture_loop.py eth0 udp port 53

Two tasks share one thread: one waits for packets, the other for time to pass.
"""

import sys

import anyio

import aiopcap

EVERY_SECONDS = 5


async def print_packets(capture: aiopcap.LiveCapture) -> None:
    """Print each packet as it comes."""
    async for packet in capture:
        print(packet.datetime, packet.wire_length, "bytes", packet.data[:14].hex(), flush=True)


async def print_statistics(capture: aiopcap.LiveCapture) -> None:
    """Print the counters now and then."""
    while True:
        await anyio.sleep(EVERY_SECONDS)
        print(capture.statistics(), flush=True)


async def main(device: str, expression: str) -> None:
    """Capture until cancelled, which is what Ctrl-C does."""
    async with (
        await aiopcap.open_live(device, filter=expression) as capture,
        anyio.create_task_group() as group,
    ):
        print("capturing on", capture.device, flush=True)
        group.start_soon(print_packets, capture)
        group.start_soon(print_statistics, capture)


if __name__ == "__main__":
    try:
        anyio.run(main, sys.argv[1], " ".join(sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
