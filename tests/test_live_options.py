"""The options of `open_live`, each by its effect on real packets or in the kernel's own words."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import Direction, FanoutMode, TimestampType, open_live

from .support.frames import frame, numbered, udp_frame
from .support.veth import Veth
from .support_live import arrived, flood, link, numbers, take

pytestmark = pytest.mark.anyio

END = frame(b"end")


async def test_snaplen_cuts_packets_and_keeps_their_length(veth: Veth) -> None:
    async with await open_live(veth.near, snaplen=64) as capture:
        assert capture.snaplen == 64
        veth.send([frame(bytes(range(200)), size=1514), frame(b"short", size=60)])
        long, short = await take(capture, 2)
    assert long.data == frame(bytes(range(200)), size=1514)[:64]
    assert (long.captured_length, long.wire_length) == (64, 1514)
    assert (short.captured_length, short.wire_length) == (60, 60)


@pytest.mark.parametrize("immediate", [False, True])
async def test_the_filter_may_look_beyond_the_snaplen(veth: Veth, immediate: bool) -> None:
    sent = [udp_frame(destination_port=port) for port in (54, 53)] * 5
    async with await open_live(
        veth.near, snaplen=20, filter="udp dst port 53", immediate=immediate
    ) as capture:
        veth.send(sent)
        packets = await take(capture, 5)
    assert [packet.data for packet in packets] == [sent[1][:20]] * 5


async def test_by_default_the_longest_packets_are_whole(veth: Veth) -> None:
    veth.set_mtu(65535)
    sent = [frame(os.urandom(size - 14), size=size) for size in (9014, 65000, 60, 65549)]
    async with await open_live(veth.near) as capture:
        # More of them than one batch has room for.
        veth.send(sent * 10)
        packets = await take(capture, len(sent) * 10)
    assert [packet.data for packet in packets] == sent * 10


@pytest.mark.parametrize("promisc", [True, False])
async def test_promisc_puts_the_device_into_that_mode_until_the_close(
    veth: Veth, promisc: bool
) -> None:
    async with await open_live(veth.near, promisc=promisc):
        assert link(veth.near)["promiscuity"] == int(promisc)
        async with await open_live(veth.near):
            assert link(veth.near)["promiscuity"] == int(promisc) + 1
    assert link(veth.near)["promiscuity"] == 0


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"buffer_timeout": 0.3}, 0.15, 1.0),
        ({}, 0.0, 0.15),
        ({"buffer_timeout": 0.3, "immediate": True}, 0.0, 0.15),
    ],
)
async def test_buffer_timeout_is_how_long_packets_gather(
    veth: Veth, options: dict[str, Any], least: float, most: float
) -> None:
    async with await open_live(veth.near, **options) as capture:
        # The first one may meet the end of a period that had begun before it came.
        veth.send(END)
        await take(capture, 1)
        before = time.perf_counter()
        veth.send(END)
        await take(capture, 1)
        assert least <= time.perf_counter() - before < most


async def test_the_smallest_buffer_timeout_is_not_for_ever(veth: Veth) -> None:
    # Rounded to no milliseconds at all it would mean to the kernel: full buffers only.
    async with await open_live(veth.near, buffer_timeout=1e-9) as capture:
        veth.send(END)
        assert (await take(capture, 1))[0].data == END


async def test_buffer_size_is_what_bridges_a_stall(veth: Veth) -> None:
    async with (
        await open_live(veth.near, buffer_size=2 * 1024 * 1024) as small,
        await open_live(veth.near) as default,
    ):
        veth.send(numbered(3000, 1000))
        # Both readers stood still until here.
        assert small.statistics().dropped > 500
        assert default.statistics().dropped == 0
        assert numbers(await take(default, 3000)) == list(range(3000))
        # The kernel counts the others as dropped, and these are not always the last ones.
        kept = numbers(await take(small, 3000 - small.statistics().dropped))
        assert kept == sorted(set(kept))


@pytest.mark.parametrize(
    ("direction", "seen"),
    [
        ("in", ["in"]),
        (Direction.IN, ["in"]),
        ("out", ["out"]),
        (Direction.OUT, ["out"]),
        ("inout", ["out", "in"]),
    ],
)
async def test_direction_chooses_received_or_sent(
    veth: Veth, direction: str, seen: list[str]
) -> None:
    async with await open_live(veth.near, direction=direction) as capture:
        for _ in range(5):
            veth.send(frame(b"out"), end="near")
            veth.send(frame(b"in"))
        packets = await take(capture, 5 * len(seen))
        with pytest.raises(anyio.WouldBlock):
            capture.receive_nowait()
    came = [packet.data[14:17].strip(b"\0").decode() for packet in packets]
    assert sorted(came) == sorted(seen * 5)


async def test_monitor_mode_on_a_wire_is_refused(veth: Veth) -> None:
    with pytest.raises(aiopcap.PcapError, match="monitor mode") as caught:
        await open_live(veth.near, rfmon=True)
    assert caught.value.code == -6
    assert veth.near in str(caught.value)


@pytest.mark.parametrize("host", ["host", TimestampType.HOST])
async def test_the_host_can_always_take_the_time(veth: Veth, host: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with await open_live(veth.near, timestamp_type=host) as capture:
            before = time.time_ns()
            veth.send(END)
            (packet,) = await take(capture, 1)
    assert before <= packet.timestamp_ns <= time.time_ns()


async def test_a_time_stamp_type_that_the_device_lacks_is_a_warning(veth: Veth) -> None:
    with pytest.warns(aiopcap.PcapWarning, match="time stamp") as caught:
        capture = await open_live(veth.near, timestamp_type=TimestampType.ADAPTER)
    async with capture:
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert veth.near in str(caught[0].message)
        veth.send(END)
        assert (await take(capture, 1))[0].data == END


async def test_a_fanout_group_shares_the_packets(veth: Veth) -> None:
    fanout = (os.getpid() & 0xFFFF, FanoutMode.LOAD_BALANCE)
    async with (
        await open_live(veth.near, fanout=fanout) as one,
        await open_live(veth.near, fanout=fanout) as other,
        await open_live(veth.near) as witness,
    ):
        veth.send(numbered(1000))
        await take(witness, 1000)
        await wait_all_tasks_blocked()
        shares = [capture.statistics().received for capture in (one, other)]
        assert sum(shares) == 1000
        assert min(shares) > 0
        seen = [numbers(await take(one, shares[0])), numbers(await take(other, shares[1]))]
    assert sorted(seen[0] + seen[1]) == list(range(1000))
    assert seen == [sorted(share) for share in seen]


async def test_a_fanout_group_has_one_mode(veth: Veth) -> None:
    group = os.getpid() & 0xFFFF
    async with await open_live(veth.near, fanout=(group, FanoutMode.HASH)):
        with pytest.raises(aiopcap.PcapError, match=f"group {group}"):
            await open_live(veth.near, fanout=(group, FanoutMode.CPU))
    with pytest.raises(aiopcap.PcapError, match="Invalid argument"):
        await open_live(veth.near, fanout=(group, 99))


async def test_the_filter_is_in_force_before_the_first_packet(veth: Veth) -> None:
    wanted, other = frame(b"wanted", size=100), frame(b"other", size=200)
    with flood(veth, [other] * 50 + [wanted]):
        for immediate in (False, True, False, True):
            async with await open_live(
                veth.near, filter="less 150", immediate=immediate
            ) as capture:
                assert {packet.data for packet in await take(capture, 20)} == {wanted}


async def test_a_packet_sent_after_the_open_is_seen(veth: Veth) -> None:
    for number in range(10):
        async with await open_live(veth.near, filter="ether proto 0x88b5") as capture:
            veth.send(numbered(1, start=number))
            assert numbers(await take(capture, 1)) == [number]


async def test_options_work_together(veth: Veth) -> None:
    async with await open_live(
        veth.near,
        filter="greater 100",
        snaplen=50,
        promisc=False,
        buffer_timeout=0.01,
        immediate=True,
        buffer_size=1024 * 1024,
        direction="in",
        timestamp_type="host",
        fanout=(os.getpid() & 0xFFFF, FanoutMode.HASH),
    ) as capture:
        veth.send([frame(b"own", size=200)], end="near")
        veth.send([frame(b"short"), frame(b"long", size=200)])
        await arrived(capture, 2)
        (packet,) = await take(capture, 1)
    assert packet.data == frame(b"long", size=200)[:50]
    assert packet.wire_length == 200
