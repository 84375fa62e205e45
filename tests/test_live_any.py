"""Captures of all devices at once, and of the loopback device."""

from __future__ import annotations

import secrets
import socket

import anyio
import pytest

import aiopcap
from aiopcap import LinkType, open_live

from .support.frames import frame, number_of
from .support.veth import Veth, veth_pair
from .support_live import PATIENCE, arrived, take

pytestmark = [pytest.mark.anyio, pytest.mark.net]

# Nobody else's, whatever the machine sends and receives meanwhile.
ETHERTYPE = 0xA000 + secrets.randbelow(0x1000)
OURS = f"ether proto {ETHERTYPE:#x}"

SLL2_HEADER = 20
SLL_HEADER = 16


def ours(payload: bytes) -> bytes:
    return frame(payload, ethertype=ETHERTYPE)


def ours_numbered(count: int) -> list[bytes]:
    return [ours(number.to_bytes(8, "big")) for number in range(count)]


async def test_each_packet_says_which_device_it_came_from(veth: Veth) -> None:
    with veth_pair() as second:
        async with await open_live("any", filter=OURS) as capture:
            assert capture.device == "any"
            assert capture.linktype is LinkType.LINUX_SLL2
            veth.send(ours(b"one"))
            second.send(ours(b"two"))
            veth.send(ours(b"three"), end="near")
            packets = await take(capture, 3)
    seen = [(packet.interface, packet.data[SLL2_HEADER:].rstrip(b"\0")) for packet in packets]
    assert seen == [(veth.near, b"one"), (second.near, b"two"), (veth.near, b"three")]
    for packet in packets:
        assert packet.linktype is LinkType.LINUX_SLL2
        assert packet.data[:2] == ETHERTYPE.to_bytes(2, "big")
        index = int.from_bytes(packet.data[4:8], "big")
        assert index > 0
    assert [packet.data[10] for packet in packets[1:]] == [3, 4]  # to another host; outgoing


async def test_batches_name_the_devices_too(veth: Veth) -> None:
    with veth_pair() as second:
        async with await open_live("any", filter=OURS, immediate=True) as capture:
            veth.send(ours(b"one"))
            second.send(ours(b"two"))
            await arrived(capture, 2)
            batch = await capture.receive_batch()
    assert list(batch.interfaces) == [veth.near, second.near]
    assert [packet.interface for packet in batch] == [veth.near, second.near]


async def test_the_end_of_one_device_is_not_the_end(veth: Veth) -> None:
    with veth_pair() as second:
        async with await open_live("any", filter=OURS) as capture:
            second.send(ours(b"unread"))
            second.delete()
            for data in ours_numbered(10):
                veth.send(data)
            unread, *packets = await take(capture, 11)
            assert unread.data[SLL2_HEADER:].startswith(b"unread")
            assert {packet.interface for packet in packets} == {veth.near}
            second.create()
            second.send(ours(b"back"))
            (back,) = await take(capture, 1)
            assert back.interface == second.near


async def test_the_older_cooked_header_can_be_chosen(veth: Veth) -> None:
    async with await open_live("any") as capture:
        assert set(capture.datalinks()) == {LinkType.LINUX_SLL, LinkType.LINUX_SLL2}
        capture.set_datalink(LinkType.LINUX_SLL)
        assert capture.linktype is LinkType.LINUX_SLL
        await capture.set_filter(OURS)
        veth.send(ours(b"cooked"))
        (packet,) = await take(capture, 1)
    assert packet.linktype is LinkType.LINUX_SLL
    assert packet.data[14:16] == ETHERTYPE.to_bytes(2, "big")
    assert packet.data[SLL_HEADER:].startswith(b"cooked")


@pytest.mark.parametrize("wrong", [LinkType.EN10MB, 4242])
async def test_a_link_type_that_the_device_lacks_is_refused(wrong: int) -> None:
    async with await open_live("any") as capture:
        with pytest.raises(aiopcap.PcapError, match="not one of the DLTs"):
            capture.set_datalink(wrong)
        assert capture.linktype is LinkType.LINUX_SLL2


async def test_the_direction_of_all_devices_can_be_chosen(veth: Veth) -> None:
    async with await open_live("any", filter=OURS, direction="out") as capture:
        veth.send(ours(b"in"))
        veth.send(ours(b"out"), end="near")
        (packet,) = await take(capture, 1)
    assert packet.data[SLL2_HEADER:].startswith(b"out")


async def test_loopback_shows_each_packet_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        async with await open_live("lo", filter=f"udp dst port {port}") as capture:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(50):
                    sender.sendto(number.to_bytes(8, "big"), receiver.getsockname())
            packets = await take(capture, 50)
            with pytest.raises(anyio.WouldBlock):
                capture.receive_nowait()
    # 14 bytes of Ethernet, 20 of IPv4, 8 of UDP, and what was sent.
    assert [int.from_bytes(packet.data[42:50], "big") for packet in packets] == list(range(50))
    assert {packet.interface for packet in packets} == {"lo"}
    assert {packet.linktype for packet in packets} == {LinkType.EN10MB}


async def test_packets_of_a_stream_through_loopback_are_whole() -> None:
    content = bytes(range(256)) * 4096  # in segments of up to 64 KiB
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with await open_live("lo", filter=f"tcp dst port {port}") as capture:
            with socket.create_connection(server.getsockname()) as client:
                connection, _ = server.accept()
                with connection, anyio.fail_after(PATIENCE):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_drain, connection, len(content))
                        await anyio.to_thread.run_sync(client.sendall, content)
            (opening,) = await take(capture, 1)
            start = int.from_bytes(opening.data[38:42], "big") + 1
            stream = bytearray(len(content))
            missing = bytearray(b"\1" * len(content))
            longest = 0
            while any(missing):  # some may be sent again
                (packet,) = await take(capture, 1)
                assert packet.captured_length == packet.wire_length
                segment = packet.data[34 + (packet.data[46] >> 4) * 4 :]
                position = (int.from_bytes(packet.data[38:42], "big") - start) % 2**32
                stream[position : position + len(segment)] = segment
                missing[position : position + len(segment)] = bytes(len(segment))
                longest = max(longest, len(segment))
    assert stream == content
    assert longest > 16384


async def _drain(connection: socket.socket, count: int) -> None:
    while count:
        count -= len(await anyio.to_thread.run_sync(connection.recv, 65536))


async def test_numbers_survive_the_cooked_header(veth: Veth) -> None:
    async with await open_live("any", filter=OURS) as capture:
        veth.send(ours_numbered(500))
        packets = await take(capture, 500)
    # The cooked header stands where Ethernet's 14 bytes stood.
    assert [number_of(packet.data[SLL2_HEADER - 14 :]) for packet in packets] == list(range(500))
