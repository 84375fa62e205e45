"""Open captures under limits that are too small."""

import resource
from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import open_live
from tests.live_programs import main
from tests.support.frames import frame
from tests.support.resources import resources
from tests.support.veth import veth_pair

MEBIBYTE = 2**20


def _address_space() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise LookupError


async def no_memory_for_the_buffer() -> None:
    """The address space has no room for the buffer; a smaller one still fits."""
    with veth_pair() as veth:
        async with await open_live(veth.near, buffer_size=MEBIBYTE):
            pass
        limit = _address_space() + 64 * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        before = resources()
        for _ in range(5):
            with pytest.raises(aiopcap.PcapError, match=f"{veth.near}.* memory"):
                await open_live(veth.near, buffer_size=256 * MEBIBYTE)
        after = resources()
        assert after.descriptors == before.descriptors
        assert after.mappings <= before.mappings + 5
        async with await open_live(veth.near, buffer_size=MEBIBYTE) as capture:
            veth.send(frame())
            with anyio.fail_after(10):
                assert (await capture.receive()).data == frame()


if __name__ == "__main__":
    main(no_memory_for_the_buffer)
