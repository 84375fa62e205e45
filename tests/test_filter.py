"""Filters: what a program is, and what it lets pass."""

from __future__ import annotations

import concurrent.futures
import copy
import pickle
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import Filter, FilterError, Instruction, LinkType, Packet
from tests.support.frames import frame, udp_frame, vlan_frame
from tests.support.pcapfiles import Record, pcap_bytes
from tests.support.witnesses import require_program

pytestmark = pytest.mark.anyio

UDP = udp_frame(b"payload", source_port=5353, destination_port=53)

OTHER = frame()


def test_the_instructions_of_a_program() -> None:
    # Checked by hand against bpf(4): load the EtherType, compare, accept or not.
    assert aiopcap.compile("ip", snaplen=1000).instructions == (
        Instruction(code=0x28, jt=0, jf=0, k=12),
        Instruction(code=0x15, jt=0, jf=1, k=0x0800),
        Instruction(code=0x06, jt=0, jf=0, k=1000),
        Instruction(code=0x06, jt=0, jf=0, k=0),
    )


def test_the_text_of_a_program_is_tcpdumps() -> None:
    import subprocess

    argv = [require_program("tcpdump"), "-y", "EN10MB", "-d", "tcp port 80 or vlan 7"]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert aiopcap.compile("tcp port 80 or vlan 7").dump() == printed


def test_the_text_of_programs_from_many_threads() -> None:
    programs = [aiopcap.compile(f"tcp port {port} and len > {port}") for port in range(1, 40)]
    expected = [program.dump() for program in programs]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            assert list(pool.map(Filter.dump, programs)) == expected


def test_what_a_filter_says_of_itself() -> None:
    program = aiopcap.compile("udp", linktype=12, snaplen=99, optimize=False)
    assert str(program) == program.expression == "udp"
    assert program.linktype is LinkType.RAW
    assert (program.snaplen, program.optimize, program.netmask) == (99, False, None)
    assert repr(program) == "<Filter 'udp' for RAW>"


def test_the_snaplen_is_what_a_program_accepts() -> None:
    for snaplen in (1, 68, 262144, 2**31 - 1):
        assert aiopcap.compile("", snaplen=snaplen).instructions == (
            Instruction(0x06, 0, 0, snaplen),
        )


@pytest.mark.parametrize("snaplen", [0, -1, 2**31, 2**40])
def test_a_snaplen_without_meaning(snaplen: int) -> None:
    with pytest.raises(ValueError, match="snaplen"):
        aiopcap.compile("ip", snaplen=snaplen)


def test_the_optimizer_can_be_left_out() -> None:
    expression = "ip and ip and ip"
    optimized = aiopcap.compile(expression)
    plain = aiopcap.compile(expression, optimize=False)
    assert len(optimized.instructions) < len(plain.instructions)
    for data in (UDP, OTHER):
        assert optimized.matches(data) == plain.matches(data)


@pytest.mark.parametrize("netmask", ["255.255.255.0", None])
def test_a_broadcast_needs_a_netmask(netmask: str | None) -> None:
    if netmask is None:
        with pytest.raises(FilterError, match="netmask not known"):
            aiopcap.compile("ip broadcast")
        return
    program = aiopcap.compile("ip broadcast", netmask=netmask)
    for address, expected in (
        ("192.0.2.255", True),
        ("192.0.2.0", True),
        ("192.0.2.7", False),
        ("255.255.255.255", True),
        ("192.0.255.1", False),
    ):
        assert program.matches(udp_frame(destination_address=address)) == expected, address


def test_a_netmask_as_a_number_reads_like_the_text() -> None:
    as_text = aiopcap.compile("ip broadcast", netmask="255.255.240.0")
    as_number = aiopcap.compile("ip broadcast", netmask=0xFFFFF000)
    assert as_number.instructions == as_text.instructions


@pytest.mark.parametrize("netmask", ["255.255.255", "no", "", -1, 2**32])
def test_a_netmask_that_is_none(netmask: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in the words of ipaddress
        aiopcap.compile("ip broadcast", netmask=netmask)


@pytest.mark.parametrize("linktype", [-1, 2**32, "EN10MB", None, 1.5])
def test_a_link_type_that_is_none(linktype: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        aiopcap.compile("", linktype=linktype)


def test_link_types_that_libpcap_does_not_know() -> None:
    with pytest.raises(FilterError, match="unknown data link type 65535"):
        aiopcap.compile("len > 3", linktype=65535)
    with pytest.raises(ValueError):  # noqa: PT011 - a FilterError is one, too
        aiopcap.compile("", linktype=2**31)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, Packet])
def test_packets_of_any_kind(kind: Any) -> None:
    program = aiopcap.compile("udp port 53")
    assert program.matches(kind(UDP))
    assert not program.matches(kind(OTHER))
    assert not program.matches(kind(b""))


def test_the_verdict_is_a_bool() -> None:
    assert aiopcap.compile("ip").matches(UDP) is True
    assert aiopcap.compile("ip").matches(OTHER) is False


def test_a_part_of_a_buffer() -> None:
    buffer = memoryview(b"garbage" + UDP + b"garbage")
    assert aiopcap.compile("udp port 53").matches(buffer[7 : 7 + len(UDP)])


def test_a_buffer_with_gaps_is_refused() -> None:
    with pytest.raises((ValueError, BufferError, TypeError)):
        aiopcap.compile("ip").matches(memoryview(UDP)[::2])


def test_the_wire_length_counts_for_len_and_the_data_for_the_rest() -> None:
    longer = aiopcap.compile("len > 1000")
    assert not longer.matches(UDP)
    assert longer.matches(UDP, wire_length=1001)
    assert longer.matches(Packet(UDP, wire_length=1001))
    assert not longer.matches(Packet(UDP, wire_length=1001), wire_length=1000)
    # A load beyond what was captured fails, and with it the packet.
    assert not aiopcap.compile("ether[100] = 0").matches(UDP, wire_length=1001)


@pytest.mark.parametrize("length", [-1, 2**32])
def test_a_wire_length_without_meaning(length: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        aiopcap.compile("ip").matches(UDP, wire_length=length)


@pytest.mark.parametrize("thing", ["text", None, 5])
def test_what_is_no_packet(thing: Any) -> None:
    with pytest.raises(TypeError):
        aiopcap.compile("ip").matches(thing)


def test_tags_in_the_packet_are_seen() -> None:
    assert aiopcap.compile("vlan 7").matches(vlan_frame(vlan=7))
    assert not aiopcap.compile("vlan 7").matches(vlan_frame(vlan=8))
    assert aiopcap.compile("vlan 7 and ether proto 0x88b5").matches(vlan_frame(vlan=7))


async def test_select_keeps_what_passes() -> None:
    frames = [UDP if number % 3 == 0 else OTHER for number in range(100)]
    content = pcap_bytes([Record(number * 1000, data) for number, data in enumerate(frames)])
    async with await aiopcap.open_offline(content) as capture:
        batch = await capture.receive_batch()
    program = aiopcap.compile("udp")
    chosen = program.select(batch)
    assert list(chosen) == [packet for packet in batch if program.matches(packet)]
    assert len(program.select(batch[:0])) == 0
    assert list(program.select(batch[::-2])) == [p for p in batch[::-2] if program.matches(p)]
    assert len(batch) == 100


@pytest.mark.parametrize(
    "again",
    [lambda program: pickle.loads(pickle.dumps(program)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_copies_are_the_same_program(again: Any) -> None:
    program = aiopcap.compile(
        "ip broadcast", linktype=LinkType.EN10MB, snaplen=99, optimize=False, netmask="255.0.0.0"
    )
    copied = again(program)
    assert copied.instructions == program.instructions
    assert (copied.expression, copied.linktype, copied.snaplen) == ("ip broadcast", 1, 99)
    assert (copied.optimize, copied.netmask) == (False, program.netmask)


async def test_a_filter_is_used_in_threads_and_captures_at_once() -> None:
    program = aiopcap.compile("udp")
    content = pcap_bytes([Record(0, UDP), Record(0, OTHER)] * 5000)

    async def read() -> None:
        async with await aiopcap.open_offline(content, filter=program) as capture:
            assert len([1 async for _ in capture]) == 5000

    def match() -> None:
        for _ in range(5000):
            assert program.matches(UDP)
            assert not program.matches(OTHER)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(read)
            tasks.start_soon(anyio.to_thread.run_sync, match)
