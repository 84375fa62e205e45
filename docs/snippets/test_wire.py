"""Tests of a program that announces itself by UDP."""

import anyio
import pytest
import trio
import trio.testing

import aiopcap


async def announce() -> None:
    """What is tested: it sends one datagram to port 4711."""
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
        await udp.sendto(b"I am here", "127.0.0.1", 4711)


@pytest.mark.trio
async def test_announces_itself() -> None:
    async with await aiopcap.open_live("lo", filter="udp dst port 4711") as capture:
        await announce()
        with trio.fail_after(5):
            packet = await capture.receive()
    assert packet.data.endswith(b"I am here")


@pytest.mark.anyio
async def test_announces_itself_once() -> None:
    async with await aiopcap.open_live("lo", filter="udp dst port 4711") as capture:
        await announce()
        with anyio.fail_after(5):
            await capture.receive()
        await capture.set_filter("udp dst port 4711 or udp port 9")
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
            await udp.sendto(b"end", "127.0.0.1", 9)
        with anyio.fail_after(5):
            assert (await capture.receive()).data.endswith(b"end")


@pytest.mark.trio
async def test_hears_nothing_for_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.1  # seconds in which nothing happens
    async with await aiopcap.open_live("lo", filter="udp dst port 4712") as capture:
        with trio.move_on_after(60) as minute:
            await capture.receive()
    assert minute.cancelled_caught
