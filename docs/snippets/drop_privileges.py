import os
import pwd
import sys

import anyio

import aiopcap


def become(user: str) -> None:
    """Give up root for good, groups first."""
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


async def main(device: str, user: str, count: int) -> None:
    async with await aiopcap.open_live(device) as capture:
        become(user)
        await capture.set_filter("udp")
        print(f"capturing on {device} as uid {os.getuid()}", flush=True)
        async for packet in capture:
            print(packet)
            count -= 1
            if count == 0:
                break


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
