"""Write what passes a filter to a savefile, for a number of seconds.

    python examples/filter_and_dump.py eth0 dns.pcap 60 udp port 53

Packets go from the device to the file in batches, without a Python object for each.
"""

import sys

import anyio

import aiopcap


async def main(device: str, path: str, seconds: float, expression: str) -> None:
    """Capture until the time is over."""
    packets = 0
    async with (
        await aiopcap.open_live(device, filter=expression) as capture,
        await capture.dump_open(path) as dumper,
    ):
        print("capturing on", device, flush=True)
        with anyio.move_on_after(seconds):
            async for batch in capture.batches():
                # What has been captured is written, also when the time is over just now.
                with anyio.CancelScope(shield=True):
                    await dumper.send_batch(batch)
                packets += len(batch)
        received, dropped, _ = capture.statistics()
    print(f"{packets} packets written, {received} received, {dropped} dropped")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]), " ".join(sys.argv[4:]))
