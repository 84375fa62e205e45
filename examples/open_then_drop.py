"""Open a capture as root, give the privilege up, and only then look at packets.

    sudo .venv/bin/python examples/open_then_drop.py eth0

What comes from the network is handled by a process that may not do much any more. The open
capture goes on: reading, changing its filter and counting need no privilege.
"""

import os
import pwd
import sys

import anyio

import aiopcap

PACKETS = 3


def drop_privileges(user: str) -> None:
    """Become an ordinary user, for good."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


async def main(device: str) -> None:
    """Capture a few packets as nobody."""
    async with await aiopcap.open_live(device) as capture:
        drop_privileges("nobody")
        print("capturing on", device, "as user", os.getuid(), flush=True)
        await capture.set_filter("greater 60")
        for _ in range(PACKETS):
            packet = await capture.receive()
            print(packet.datetime, packet.wire_length, "bytes", flush=True)
        print(capture.statistics())


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
