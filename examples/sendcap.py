"""Send the packets of a savefile: WinPcap's sendcap, with its three warnings.

    python examples/sendcap.py capture.pcap eth0 [s]

With "s" they keep their distances in time; without they go out as fast as the device takes them.
"""

import sys
import warnings

import anyio

import aiopcap

QUEUE_BYTES = 256 * 1024 * 1024


def show(report: aiopcap.TransmitReport) -> None:
    """Print how far it is."""
    print(f"{report.packets} packets, {report.packets_per_second:.0f} packets/s", flush=True)


async def main(path: str, device: str, *, sync: bool) -> None:
    """Fill a queue, then send it."""
    queue = aiopcap.SendQueue(maxlen=QUEUE_BYTES)
    async with await aiopcap.open_offline(path) as capture:
        try:
            async for packet in capture:
                queue.append(packet)
        except aiopcap.QueueFullError as error:
            warnings.warn(f"not all packets will be sent: {error}", stacklevel=1)
    async with await aiopcap.open_live(device, filter="less 0") as target:
        try:
            # Warns if the link types differ.
            await queue.transmit(target, sync=sync, progress=show, progress_interval=1)
        except aiopcap.SendError as error:
            sent = error.nbytes + 16 * error.packets
            warnings.warn(f"{error}: only {sent} bytes were sent", stacklevel=1)


if __name__ == "__main__":
    anyio.run(lambda: main(sys.argv[1], sys.argv[2], sync=sys.argv[3:] == ["s"]))
