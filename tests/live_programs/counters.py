"""Ask for the counters of a capture several times, and print them."""

import sys

import anyio

from aiopcap import open_live
from tests.live_programs import main
from tests.support.frames import numbered
from tests.support.veth import veth_pair


async def ask_often() -> None:
    """Print received and dropped packets six times, after ten were received."""
    with veth_pair() as veth:
        async with await open_live(veth.near) as capture:
            veth.send(numbered(10))
            with anyio.fail_after(10):
                for _ in range(10):
                    await capture.receive()
            for _ in range(6):
                statistics = capture.statistics()
                sys.stdout.write(f"{statistics.received} {statistics.dropped}\n")


if __name__ == "__main__":
    main(ask_often)
