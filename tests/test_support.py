"""The support code itself: hosts that reach each other, and files that others can read."""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.support import pcapngfiles as ng
from tests.support.event_loop import LoopLag, loop_lag
from tests.support.frames import frame, number_of, numbered, udp_frame, vlan_frame
from tests.support.namespaces import Namespace
from tests.support.oracle import read_pcap, record_digest
from tests.support.pcapfiles import ByteOrder, Precision, Record, pcap_bytes, records
from tests.support.privileges import reason_without_net, require_net
from tests.support.resources import open_descriptors, resources
from tests.support.veth import Veth, veth_pair
from tests.support.witnesses import tcpdump, tcpdump_count, tcpdump_records, tshark_fields

_ETH_P_ALL = 3


def _receive(receiver: socket.socket, count: int) -> list[bytes]:
    receiver.settimeout(5)
    return [receiver.recv(65536) for _ in range(count)]


def _is_empty(receiver: socket.socket) -> bool:
    receiver.setblocking(False)
    try:
        receiver.recv(65536)
    except BlockingIOError:
        return True
    return False


def test_every_frame_arrives_in_both_directions(veth: Veth) -> None:
    sent = numbered(200, size=100)
    for sending, receiving in (("far", "near"), ("near", "far")):
        with veth.packet_socket(receiving, _ETH_P_ALL) as receiver:  # type: ignore[arg-type]
            assert veth.send(sent, end=sending) == 200  # type: ignore[arg-type]
            assert _receive(receiver, 200) == sent
            assert _is_empty(receiver)


def test_nothing_but_the_sent_frames_crosses_the_link(veth: Veth) -> None:
    veth.send(frame())
    veth.set_link(False)
    veth.set_link(True)
    veth.send(frame())
    assert veth.counters("near").rx_packets == 2
    assert veth.counters("near").tx_packets == 0
    assert veth.counters("far").tx_packets == 2
    assert veth.counters("far").rx_packets == 0


def test_first_frame_after_link_up_arrives(veth: Veth) -> None:
    for round_number in range(50):
        veth.set_link(False)
        veth.set_link(True)
        with veth.packet_socket("near", _ETH_P_ALL) as receiver:
            veth.send(numbered(1, start=round_number))
            assert number_of(_receive(receiver, 1)[0]) == round_number


def test_link_down_refuses_frames(veth: Veth) -> None:
    veth.set_link(False)
    with pytest.raises(OSError, match=r"[Dd]own|No buffer space"):
        veth.send(frame())
    assert veth.counters("near").rx_packets == 0


def test_device_can_be_deleted_and_made_again(veth: Veth) -> None:
    veth.send(frame())
    veth.delete()
    assert veth.near not in dict(socket.if_nameindex()).values()
    veth.create()
    with veth.packet_socket("near", _ETH_P_ALL) as receiver:
        veth.send(frame(b"again"))
        assert _receive(receiver, 1) == [frame(b"again")]


def test_mtu_bounds_the_frame(veth: Veth) -> None:
    veth.set_mtu(9000)
    assert veth.send(frame(size=9014)) == 1
    with pytest.raises(OSError, match="too long"):
        veth.send(frame(size=9015))


def test_hosts_are_made_quickly_and_leave_no_descriptors() -> None:
    require_net()
    before = open_descriptors()
    started = time.perf_counter()
    for _ in range(5):
        with veth_pair() as pair:
            pair.send(frame())
    assert time.perf_counter() - started < 2
    assert open_descriptors().keys() == before.keys()


@pytest.mark.net
def test_namespace_separates_devices_and_programs() -> None:
    with Namespace() as namespace:
        inside = namespace.run(socket.if_nameindex)
        assert [name for _, name in inside] == ["lo"]
        listing = subprocess.run(
            namespace.command("ip", "-o", "link"), check=True, capture_output=True, text=True
        )
        assert len(listing.stdout.splitlines()) == 1


@pytest.mark.net
def test_namespace_hands_on_what_the_function_raises() -> None:
    with Namespace() as namespace, pytest.raises(ZeroDivisionError):
        namespace.run(lambda: 1 // 0)


def test_tcpdump_sees_the_vlan_tag_on_the_link(veth: Veth, tmp_path: Path) -> None:
    with veth.packet_socket("far", _ETH_P_ALL) as receiver:
        veth.send(vlan_frame(b"tagged", vlan=42), end="near")
        # The kernel hands over the tag beside the frame, so what is left is 4 bytes shorter.
        assert len(_receive(receiver, 1)[0]) == len(vlan_frame()) - 4
    savefile = tmp_path / "vlan.pcap"
    savefile.write_bytes(pcap_bytes(records([vlan_frame(b"tagged", vlan=42)])))
    assert tcpdump_count(savefile, "vlan 42") == 1


def test_without_privileges_a_test_is_skipped_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    reason_without_net.cache_clear()
    try:
        monkeypatch.delenv("AIOPCAP_REQUIRE_NET", raising=False)
        with pytest.raises(pytest.skip.Exception, match="iproute2"):
            require_net()
        monkeypatch.setenv("AIOPCAP_REQUIRE_NET", "1")
        with pytest.raises(pytest.fail.Exception, match="iproute2"):
            require_net()
    finally:
        reason_without_net.cache_clear()


PACKETS = [
    Record(1_700_000_000_123_456_000, frame(b"first")),
    Record(1_700_000_000_123_457_000, udp_frame(b"second", destination_port=53)),
    Record(1_700_000_001_999_999_000, frame(size=61), wire_length=1514),
]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("precision", ["micro", "nano"])
def test_pcap_is_read_by_others(tmp_path: Path, order: ByteOrder, precision: Precision) -> None:
    savefile = tmp_path / "made.pcap"
    content = pcap_bytes(PACKETS, order=order, precision=precision)
    savefile.write_bytes(content)
    expected = [Record(packet.timestamp_ns, packet.data) for packet in PACKETS]
    assert tcpdump_records(savefile) == expected
    assert tcpdump_count(savefile, "udp port 53") == 1
    assert tshark_fields(savefile, "frame.cap_len", "frame.len") == [
        ("60", "60"),
        ("60", "60"),
        ("61", "1514"),
    ]
    oracle = read_pcap(content)
    assert (oracle.order, oracle.precision, oracle.modified) == (order, precision, False)
    lengths = [packet.wire_length or len(packet.data) for packet in PACKETS]
    assert [packet.wire_length for packet in oracle.records] == lengths
    assert [packet._replace(wire_length=None) for packet in oracle.records] == expected
    assert oracle.complete


def test_times_after_2038_are_unsigned(tmp_path: Path) -> None:
    savefile = tmp_path / "late.pcap"
    late = Record(4_000_000_000_999_999_999, frame(), 60)
    content = pcap_bytes([late], precision="nano")
    savefile.write_bytes(content)
    assert read_pcap(content).records == [late]
    assert tshark_fields(savefile, "frame.time_epoch") == [("4000000000.999999999",)]


@pytest.mark.parametrize("order", ["little", "big"])
def test_modified_pcap_is_read_by_others(tmp_path: Path, order: ByteOrder) -> None:
    savefile = tmp_path / "modified.pcap"
    content = pcap_bytes(PACKETS, order=order, modified=True)
    savefile.write_bytes(content)
    expected = [Record(packet.timestamp_ns, packet.data) for packet in PACKETS]
    assert tcpdump_records(savefile) == expected
    lengths = [("60",), ("60",), ("1514",)]
    assert tshark_fields(savefile, "frame.len") == lengths
    assert read_pcap(content).modified


@pytest.mark.parametrize("order", ["little", "big"])
def test_pcapng_is_read_by_others(tmp_path: Path, order: ByteOrder) -> None:
    savefile = tmp_path / "made.pcapng"
    time_ns = 1_700_000_000_123_456_789
    blocks = [
        ng.section(order=order),
        ng.interface(order=order, tsresol=9, tsoffset=1000, name="a0", description="the first"),
        ng.block(0x80000042, b"unknown", order=order),
        ng.enhanced_packet(frame(b"one"), time_ns, order=order, wire_length=1514),
        ng.simple_packet(frame(b"two"), order=order),
    ]
    savefile.write_bytes(b"".join(blocks))
    seen = tcpdump_records(savefile)
    assert [packet.data for packet in seen] == [frame(b"one"), frame(b"two")]
    assert seen[0].timestamp_ns == time_ns + 1000 * 1_000_000_000
    fields = tshark_fields(savefile, "frame.len", "frame.interface_name")
    assert fields == [("1514", "a0"), ("60", "a0")]


def test_oracle_reports_a_cut_file_after_its_complete_records() -> None:
    content = pcap_bytes(PACKETS)
    whole = read_pcap(content)
    ends = [24]
    for packet in PACKETS:
        ends.append(ends[-1] + 16 + len(packet.data))
    for length in range(24, len(content)):
        cut = read_pcap(content[:length])
        expected = sum(end <= length for end in ends[1:])
        assert cut.records == whole.records[:expected]
        assert cut.complete == (length in ends)
    with pytest.raises(ValueError, match="header"):
        read_pcap(content[:23])
    with pytest.raises(ValueError, match="magic"):
        read_pcap(bytes(24))


def test_oracle_agrees_with_the_digests_of_the_corpus(corpus: Path) -> None:
    rows = [line.split("\t") for line in (corpus / "DIGESTS.tsv").read_text().splitlines()]
    checked = 0
    for folder, name, count, digest, error, *_ in rows[1:]:
        content = (corpus / folder / name).read_bytes()
        if error or content[:4] not in (struct.pack("<I", 0xA1B2C3D4), b"\xa1\xb2\xc3\xd4"):
            continue
        file = read_pcap(content)
        if not file.complete:
            continue
        trimmed = [
            Record(r.timestamp_ns, r.data[: file.snaplen or None], r.wire_length)
            for r in file.records
        ]
        assert (len(trimmed), record_digest(trimmed)) == (int(count), digest), name
        checked += 1
    assert checked > 100


def test_digest_covers_time_lengths_and_bytes() -> None:
    packet = Record(1, b"ab", 3)
    expected = hashlib.sha256(bytes([1] + [0] * 7 + [2, 0, 0, 0, 3, 0, 0, 0]) + b"ab")
    assert record_digest([packet]) == expected.hexdigest()


def test_udp_frame_has_right_checksums(tmp_path: Path) -> None:
    savefile = tmp_path / "udp.pcap"
    savefile.write_bytes(pcap_bytes(records([udp_frame(b"odd"), udp_frame(b"even")])))
    output = tcpdump(savefile, "-vv")
    assert output.count("udp sum ok") == 2
    assert "bad cksum" not in output


@pytest.mark.anyio
async def test_lag_shows_a_blocked_loop() -> None:
    async with loop_lag(0.01) as lag:
        while lag.count < 3:
            await checkpoint()
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            pass
        with anyio.fail_after(5):
            while lag.count < 20:
                await checkpoint()
    # 0.2 s hold about twenty ticks, each of them late.
    assert sum(late > 0.01 for late in lag.lags) > 10


def test_percentile_of_lags() -> None:
    lag = LoopLag([index / 1000 for index in range(100)])
    assert lag.percentile(50) == 0.049
    assert lag.p99 == 0.098
    assert lag.max == 0.099
    assert LoopLag().p99 == 0


def test_resources_see_descriptors_and_memory() -> None:
    before = resources()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    # A bytearray may be given memory that the process had before.
    with mmap.mmap(-1, 1 << 24) as held:
        held.write(os.urandom(len(held)))
        during = resources()
        size = len(held)
    os.close(descriptor)
    assert during.descriptors == before.descriptors + 1
    assert during.resident_bytes - before.resident_bytes > size // 2
