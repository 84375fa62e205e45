"""Send frames made by hand: one, many at once, and many at an even pace.

    sudo .venv/bin/python examples/send_frames.py eth0

They carry an EtherType for experiments, which nobody answers.
"""

import sys

import anyio

import aiopcap

HEADER = bytes.fromhex("ffffffffffff 020000000001 88b5")
PACKETS_PER_SECOND = 200


def frame(number: int) -> bytes:
    """Return an Ethernet frame with a number in it."""
    return (HEADER + number.to_bytes(4, "big")).ljust(60, b"\0")


async def main(device: str) -> None:
    """Send in three ways."""
    async with await aiopcap.open_live(device) as capture:
        await capture.send(frame(0))
        print("1 frame")

        count = await capture.send_batch(frame(number) for number in range(1, 1000))
        print(count, "frames")

        queue = aiopcap.SendQueue()
        queue.extend(frame(number) for number in range(1000, 1100))
        report = await queue.transmit(capture, pps=PACKETS_PER_SECOND)
        print(f"{report.packets} frames in {report.elapsed:.2f} s")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
