"""Packets: immutable values that keep their contents to themselves."""

from __future__ import annotations

import array
import copy
import datetime as dt
import gc
import pickle
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiopcap
from aiopcap import LinkType, Packet

TIME_NS = 1_700_000_000_123_456_789


def full() -> Packet:
    return Packet(
        b"\x01\x02secret",
        timestamp_ns=TIME_NS,
        wire_length=1500,
        linktype=LinkType.EN10MB,
        interface="eth0",
    )


def test_what_is_given_is_there() -> None:
    packet = full()
    assert packet.data == b"\x01\x02secret"
    assert packet.timestamp_ns == TIME_NS
    assert packet.wire_length == 1500
    assert packet.captured_length == len(packet) == 8
    assert packet.linktype is LinkType.EN10MB
    assert packet.interface == "eth0"


def test_what_is_not_given() -> None:
    packet = Packet(b"12345")
    assert (packet.timestamp_ns, packet.wire_length) == (0, 5)
    assert packet.linktype is None
    assert packet.interface is None
    assert Packet(b"12345", wire_length=None).wire_length == 5


@pytest.mark.parametrize(
    "data",
    [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], array.array("B", b"abc")],
    ids=["bytes", "bytearray", "memoryview", "array"],
)
def test_data_of_any_kind_becomes_bytes(data: Any) -> None:
    packet = Packet(data)
    assert packet.data == b"abc"
    assert type(packet.data) is bytes


def test_data_is_copied() -> None:
    data = bytearray(b"abc")
    packet = Packet(data)
    data[:] = b"xyz"
    assert packet.data == b"abc"


def test_an_empty_packet() -> None:
    packet = Packet(b"", wire_length=60)
    assert (len(packet), packet.data, packet.wire_length) == (0, b"", 60)
    assert bool(memoryview(packet)) is False


@pytest.mark.parametrize("data", ["text", 5, None, 1.5, object()])
def test_what_is_no_data(data: Any) -> None:
    with pytest.raises(TypeError):
        Packet(data)


@pytest.mark.parametrize(
    "options",
    [
        {"wire_length": -1},
        {"wire_length": 2**32},
        {"wire_length": 2**64},
        {"timestamp_ns": 2**63},
        {"timestamp_ns": -(2**63) - 1},
    ],
)
def test_numbers_that_do_not_fit(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Packet(b"x", **options)


@pytest.mark.parametrize(
    "options", [{"wire_length": "5"}, {"wire_length": 5.0}, {"timestamp_ns": 1.5}, {"unknown": 1}]
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Packet(b"x", **options)


def test_options_have_names_only() -> None:
    with pytest.raises(TypeError):
        Packet(b"x", 5)  # type: ignore[call-arg]


def test_the_largest_numbers() -> None:
    packet = Packet(b"x", timestamp_ns=2**63 - 1, wire_length=2**32 - 1)
    assert (packet.timestamp_ns, packet.wire_length) == (2**63 - 1, 2**32 - 1)
    assert Packet(b"x", timestamp_ns=-(2**63)).timestamp_ns == -(2**63)


@pytest.mark.parametrize(
    "name", ["data", "timestamp_ns", "wire_length", "linktype", "interface", "captured_length"]
)
def test_nothing_can_be_changed(name: str) -> None:
    packet = full()
    with pytest.raises((AttributeError, TypeError)):
        setattr(packet, name, getattr(packet, name))
    with pytest.raises((AttributeError, TypeError)):
        delattr(packet, name)


def test_nothing_can_be_added() -> None:
    with pytest.raises(AttributeError):
        full().comment = "mine"  # type: ignore[attr-defined]


def test_the_type_itself_is_final() -> None:
    with pytest.raises(TypeError):
        type("Mine", (Packet,), {})


def test_times_in_other_forms() -> None:
    packet = Packet(b"x", timestamp_ns=TIME_NS)
    assert packet.timestamp == pytest.approx(1_700_000_000.123_456_789, abs=1e-6)
    assert packet.datetime == dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=dt.UTC)
    assert packet.datetime.tzinfo is dt.UTC


@pytest.mark.parametrize("time_ns", [0, -1, 999, 2**31 * 10**9, 2**32 * 10**9, 2**63 - 1, -(2**63)])
def test_times_far_away(time_ns: int) -> None:
    packet = Packet(b"x", timestamp_ns=time_ns)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert packet.datetime - epoch == dt.timedelta(microseconds=time_ns // 1000)
    assert repr(packet).startswith("<Packet ")


# --- equality ---------------------------------------------------------------------------------


def test_equal_packets_have_equal_hashes() -> None:
    assert full() == full()
    assert hash(full()) == hash(full())
    assert len({full(), full()}) == 1


def test_where_a_packet_came_from_does_not_count() -> None:
    other = Packet(full().data, timestamp_ns=TIME_NS, wire_length=1500)
    assert other == full()
    assert hash(other) == hash(full())


@pytest.mark.parametrize("change", [{"data": b"other"}, {"timestamp_ns": 1}, {"wire_length": 1501}])
def test_a_difference_makes_unequal(change: dict[str, Any]) -> None:
    given_: dict[str, Any] = {
        "data": full().data,
        "timestamp_ns": TIME_NS,
        "wire_length": 1500,
    } | change
    assert Packet(given_.pop("data"), **given_) != full()


@pytest.mark.parametrize("other", [b"\x01\x02secret", None, 5, (TIME_NS, 1500)])
def test_a_packet_equals_nothing_else(other: object) -> None:
    assert full() != other
    assert not full() == other  # noqa: SIM201 - the other operator


def test_packets_have_no_order() -> None:
    with pytest.raises(TypeError):
        _ = full() < full()  # type: ignore[operator]


# --- the buffer -------------------------------------------------------------------------------


def test_the_buffer_is_the_data_and_read_only() -> None:
    packet = full()
    view = memoryview(packet)
    assert view.tobytes() == packet.data == bytes(packet)
    assert (view.readonly, view.format, view.itemsize, view.nbytes) == (True, "B", 1, 8)
    with pytest.raises(TypeError):
        view[0] = 1
    assert bytearray(packet) == packet.data


def test_the_buffer_outlives_the_packet() -> None:
    packet = Packet(bytes(range(256)) * 100)
    view = memoryview(packet)
    del packet
    gc.collect()
    assert bytes(view) == bytes(range(256)) * 100


def test_the_buffer_is_not_a_copy() -> None:
    numpy = pytest.importorskip("numpy")
    packet = full()
    first = numpy.frombuffer(packet, "u1")
    assert first.tolist() == list(packet.data)
    assert numpy.shares_memory(first, numpy.frombuffer(packet.data, "u1"))


# --- copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_hold_everything(protocol: int) -> None:
    again = pickle.loads(pickle.dumps(full(), protocol))
    assert again == full()
    assert again.linktype is LinkType.EN10MB
    assert again.interface == "eth0"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_copies_are_equal(again: Any) -> None:
    assert again(full()) == full()
    assert again(full()).interface == "eth0"


@given(
    st.binary(max_size=50),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, LinkType.RAW, LinkType(5000)]),
    st.none() | st.text(max_size=5),
)
def test_any_packet_survives_a_pickle(
    data: bytes, time_ns: int, length: int, linktype: LinkType | None, interface: str | None
) -> None:
    packet = Packet(
        data, timestamp_ns=time_ns, wire_length=length, linktype=linktype, interface=interface
    )
    again = pickle.loads(pickle.dumps(packet))
    assert again == packet
    assert (again.linktype, again.interface) == (linktype, interface)
    assert hash(again) == hash(packet)
    assert repr(again) == repr(packet)


# --- repr -------------------------------------------------------------------------------------


def test_the_repr_tells_what_logs_may_know() -> None:
    assert repr(full()) == "<Packet 2023-11-14T22:13:20.123456789Z eth0 8 of 1500 bytes>"
    assert repr(Packet(b"12345")) == "<Packet 1970-01-01T00:00:00.000000000Z 5 bytes>"
    assert "secret" not in repr(full()) + str(full())
    assert "secret" not in repr([full()])


@pytest.mark.parametrize("name", ["e\x1b[31m", "e\nx", "e\x00", "\u202egnp"])
def test_the_repr_is_one_harmless_line(name: str) -> None:
    assert repr(Packet(b"x", interface=name)).isprintable()


# --- memory -----------------------------------------------------------------------------------


def test_packets_leave_nothing_behind() -> None:
    marker = "an interface of its own"
    before = sys.getrefcount(Packet), sys.getrefcount(marker)
    packets = [Packet(b"x", interface=marker) for _ in range(1000)]
    assert sys.getrefcount(marker) >= before[1] + 1000
    del packets
    for _ in range(1000):
        with pytest.raises(OverflowError):
            Packet(b"x", interface=marker, wire_length=2**32)
    gc.collect()
    assert sys.getrefcount(Packet) <= before[0] + 10
    assert sys.getrefcount(marker) == before[1]


def test_packets_are_small() -> None:
    assert sys.getsizeof(Packet(b"x" * 1000)) < 128


def test_packets_are_made_in_many_threads() -> None:
    wrong: list[Packet] = []

    def make(start: int) -> None:
        for number in range(start, start + 3000):
            packet = Packet(number.to_bytes(8, "big"), timestamp_ns=number)
            if int.from_bytes(packet.data, "big") != packet.timestamp_ns or hash(packet) == -1:
                wrong.append(packet)

    threads = [threading.Thread(target=make, args=(start,)) for start in range(0, 24_000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_link_types_keep_unknown_values() -> None:
    assert LinkType(5000) == 5000
    assert pickle.loads(pickle.dumps(LinkType(5000))) == 5000
    assert LinkType(1) is aiopcap.LinkType.EN10MB
    with pytest.raises(ValueError, match="LinkType"):
        LinkType(-1)
