"""Filters on what is beside the packets: VLAN tags, and the direction, which the kernel keeps."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from aiopcap import open_live

from .support.frames import frame, numbered, vlan_frame
from .support.veth import Veth
from .support_live import arrived, collect, end, take

pytestmark = pytest.mark.anyio


async def test_vlan_tags_are_part_of_the_data(veth: Veth) -> None:
    sent = [
        vlan_frame(b"seven", vlan=7),
        frame(b"none"),
        vlan_frame(b"eight", vlan=8, priority=5),
        vlan_frame(b"long", vlan=7, size=1518),
    ]
    async with await open_live(veth.near) as capture:
        veth.send(sent)
        packets = await take(capture, 4)
    assert [packet.data for packet in packets] == sent
    assert [packet.wire_length for packet in packets] == [len(data) for data in sent]


async def test_a_cut_packet_keeps_its_vlan_tag(veth: Veth) -> None:
    async with await open_live(veth.near, snaplen=32) as capture:
        veth.send(vlan_frame(bytes(range(200)), vlan=7, size=300))
        (packet,) = await take(capture, 1)
    assert packet.data == vlan_frame(bytes(range(200)), vlan=7)[:32]
    assert packet.wire_length == 300


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("vlan", [b"seven", b"eight"]),
        ("vlan 7", [b"seven"]),
        ("not vlan", [b"none"]),
        ("vlan 8 or ether dst 02:00:00:00:00:99", [b"eight"]),
    ],
)
@pytest.mark.parametrize("moment", ["open", "queued", "in hand"])
async def test_filters_on_vlan_tags(
    veth: Veth, expression: str, wanted: list[bytes], moment: str
) -> None:
    sent = [vlan_frame(b"seven", vlan=7), frame(b"none"), vlan_frame(b"eight", vlan=8)]
    expected = wanted
    async with await open_live(
        veth.near, immediate=True, filter=expression if moment == "open" else None
    ) as capture:
        if moment != "open":
            veth.send([vlan_frame(b"first", vlan=9), *sent])
            await arrived(capture, 4)
            if moment == "in hand":
                await capture.receive()
            elif expression == "vlan":
                expected = [b"first", *wanted]
            await capture.set_filter(expression)
            expected = expected + wanted
        veth.send(sent)
        packets = await take(capture, len(expected))
    starts = [18 if packet.data[12] == 0x81 else 14 for packet in packets]
    came = [
        packet.data[start:].rstrip(b"\0") for packet, start in zip(packets, starts, strict=True)
    ]
    assert came == expected


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("waiting", [True, False])
@pytest.mark.parametrize("expression", ["inbound", "not outbound"])
async def test_filters_on_the_direction_lose_nothing(
    veth: Veth, expression: str, waiting: bool, immediate: bool
) -> None:
    """What such a filter asks for is not in the packet: only the kernel knows it."""
    seen: list[int] = []

    async def read() -> None:
        seen.extend(await collect(capture, 999))

    sent = [*numbered(10), end(60)]
    async with (
        await open_live(
            veth.near, immediate=immediate, filter=None if waiting else expression
        ) as capture,
        anyio.create_task_group() as tasks,
    ):
        if waiting:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            await capture.set_filter(expression)
        veth.send(frame(b"out"), end="near")
        veth.send(sent)
        if not waiting:
            tasks.start_soon(read)
    assert seen == list(range(10))


async def test_packets_in_hand_do_not_pass_a_filter_on_the_direction(veth: Veth) -> None:
    """Nobody knows the direction of those any more, and none may come that does not match."""
    async with await open_live(veth.near, immediate=True) as capture:
        veth.send([frame(b"out")] * 5, end="near")
        await arrived(capture, 5)
        assert (await capture.receive()).data == frame(b"out")
        await capture.set_filter("inbound")
        veth.send([*numbered(10), end(60)])
        assert await collect(capture, 999) == list(range(10))
