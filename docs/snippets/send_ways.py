import sys

import anyio

import aiopcap


def send_or_drop(capture: aiopcap.LiveCapture, frame: bytes) -> bool:
    try:
        capture.send_nowait(frame)
    except anyio.WouldBlock:
        return False
    return True


async def send_within(seconds: float, capture: aiopcap.LiveCapture, frame: bytes) -> bool:
    with anyio.move_on_after(seconds) as scope:
        await capture.send(frame)
    return not scope.cancelled_caught


async def main(device: str) -> None:
    frame = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(1000)
    async with await aiopcap.open_live(device, filter="less 0") as capture:
        sent = 0
        while send_or_drop(capture, frame):
            sent += 1
        print(sent, "sent,", await send_within(0.1, capture, frame), flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
