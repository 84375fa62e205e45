"""Read a savefile into NumPy: how large packets are, and how fast they came.

    python examples/batches_numpy.py capture.pcap

The columns of a batch become arrays without a copy, so a million packets take a moment.
"""

import sys

import anyio
import numpy as np

import aiopcap

SIZES = [0, 64, 128, 256, 512, 1024, 1519, 2**32]


async def main(path: str) -> None:
    """Print a histogram of sizes, and rates."""
    histogram = np.zeros(len(SIZES) - 1, np.int64)
    first_ns, last_ns = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    total_bytes = 0
    async with await aiopcap.open_offline(path) as capture:
        async for batch in capture.batches():
            lengths = np.asarray(batch.wire_lengths)
            times_ns = np.asarray(batch.timestamps_ns)
            histogram += np.histogram(lengths, SIZES)[0]
            total_bytes += int(lengths.sum(dtype=np.int64))
            first_ns = min(first_ns, int(times_ns.min()))
            last_ns = max(last_ns, int(times_ns.max()))
    for low, high, count in zip(SIZES, SIZES[1:], histogram, strict=False):
        print(f"{low:>5} … {high - 1:<10} bytes: {count}")
    packets, seconds = int(histogram.sum()), max(last_ns - first_ns, 1) / 1e9
    print(f"{packets} packets, {total_bytes} bytes", end="")
    print(f" in {seconds:.6f} s, {packets / seconds:.0f} packets/s" if packets > 1 else "")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
