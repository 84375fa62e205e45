import anyio

import aiopcap


async def main() -> None:
    async with await aiopcap.open_offline("first.pcap") as capture:
        print(capture.format, capture.linktype.name, capture.timestamp_precision)
        previous = None
        async for packet in capture:
            gap = packet.timestamp_ns - previous if previous else 0
            print(f"+{gap} ns", packet)
            previous = packet.timestamp_ns


if __name__ == "__main__":
    anyio.run(main)
