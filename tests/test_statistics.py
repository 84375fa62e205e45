"""The counters of a capture agree with what was sent, what came, and what the kernel says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import aiopcap
from aiopcap import open_live

from .support.frames import frame, numbered
from .support.veth import Veth
from .support.witnesses import require_program
from .support_live import BACKENDS, arrived, numbers, run_program, take, until

SMALL = 2 * 1024 * 1024


@pytest.mark.anyio
async def test_counters_begin_at_zero_and_count(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        assert capture.statistics() == (0, 0, 0)
        veth.send(numbered(25))
        await take(capture, 25)
        statistics = capture.statistics()
        assert isinstance(statistics, aiopcap.CaptureStatistics)
        assert statistics == (25, 0, 0)
        assert (statistics.received, statistics.dropped, statistics.if_dropped) == (25, 0, 0)
        # Asking does not count, and does not set back.
        assert capture.statistics() == statistics


@pytest.mark.anyio
async def test_what_comes_and_what_is_dropped_is_what_was_sent(veth: Veth) -> None:
    async with await open_live(veth.near, buffer_size=SMALL) as capture:
        before = veth.counters("near").rx_packets
        sent = 0
        seen: list[int] = []
        for _ in range(3):
            veth.send(numbered(3000, 1000, start=sent))
            sent += 3000
            # Nobody read until here.
            await arrived(capture, sent)
            kept = sent - capture.statistics().dropped - len(seen)
            assert 0 < kept < 3000
            seen += numbers(await take(capture, kept))
        statistics = capture.statistics()
        assert veth.counters("near").rx_packets - before == sent
        assert statistics.received == sent
        assert len(seen) + statistics.dropped == sent
        assert seen == sorted(set(seen))
        # After that it is as good as new.
        veth.send(numbered(100, start=sent))
        assert numbers(await take(capture, 100)) == list(range(sent, sent + 100))
        assert capture.statistics().dropped == statistics.dropped


@pytest.mark.anyio
async def test_counters_go_on_while_packets_are_read(veth: Veth) -> None:
    async with await open_live(veth.near, buffer_size=SMALL) as capture:
        last = capture.statistics()
        delivered = 0
        for _ in range(20):
            veth.send(numbered(400, 1000))
            delivered += len(await capture.receive_batch())
            now = capture.statistics()
            assert all(new >= old for new, old in zip(now, last, strict=True))
            last = now
        await until(lambda: capture.statistics().received == 8000)
        while delivered < 8000 - capture.statistics().dropped:
            with anyio.fail_after(5):
                delivered += len(await capture.receive_batch())
        assert delivered + capture.statistics().dropped == 8000


@pytest.mark.anyio
async def test_only_packets_that_pass_the_filter_are_counted(veth: Veth) -> None:
    async with await open_live(veth.near, filter="greater 100") as capture:
        veth.send([frame(size=60), frame(size=200)] * 10)
        await take(capture, 10)
        assert capture.statistics() == (10, 0, 0)


@pytest.mark.anyio
async def test_each_capture_has_counters_of_its_own(veth: Veth) -> None:
    async with await open_live(veth.near) as first:
        veth.send(numbered(5))
        await take(first, 5)
        async with await open_live(veth.near) as second:
            veth.send(numbered(7))
            await take(second, 7)
            await take(first, 7)
            assert second.statistics().received == 7
        assert first.statistics().received == 12


@pytest.mark.anyio
async def test_counters_of_a_device_that_is_gone(veth: Veth) -> None:
    async with await open_live(veth.near) as capture:
        veth.send(numbered(5))
        veth.delete()
        await take(capture, 5)
        with pytest.raises(aiopcap.InterfaceGoneError):
            await capture.receive()
        assert capture.statistics() == (5, 0, 0)


@pytest.mark.anyio
async def test_a_closed_capture_has_no_counters(veth: Veth) -> None:
    capture = await open_live(veth.near)
    await capture.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        capture.statistics()


# libpcap's counters have 32 bits. No test can send 2**32 packets, so this adds to the counters
# what would have come before, between libpcap and its caller.
_FORGED_STATISTICS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pcap/pcap.h>

int pcap_stats(pcap_t *handle, struct pcap_stat *statistics)
{
    static unsigned calls;
    int (*real)(pcap_t *, struct pcap_stat *) = dlsym(RTLD_NEXT, "pcap_stats");
    int status = real(handle, statistics);

    statistics->ps_recv += calls * 3000000000U;
    statistics->ps_drop += calls * 4294967295U;
    calls++;
    return status;
}
"""


@pytest.mark.net
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD")
def test_counters_have_64_bits(tmp_path: Path, backend: str) -> None:
    source, library = tmp_path / "forge.c", tmp_path / "forge.so"
    source.write_text(_FORGED_STATISTICS)
    compiler = require_program("cc")
    # Linked to libpcap, so that this is loaded behind it and "the next one" is libpcap's.
    libraries = ["-Wl,--no-as-needed", "-lpcap", "-ldl"]
    argv = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), *libraries]
    subprocess.run(argv, check=True)
    # Behind what is preloaded already: a sanitizer's run-time library wants to be the first.
    preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(library))))
    printed = run_program("counters", "ask_often", backend, env={"LD_PRELOAD": preload})
    expected = [(10 + calls * 3_000_000_000, calls * (2**32 - 1)) for calls in range(6)]
    assert printed.split("\n")[:-1] == [f"{received} {dropped}" for received, dropped in expected]
