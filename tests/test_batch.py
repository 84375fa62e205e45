"""Batches: sequences of packets over one buffer, with columns that nothing copies."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiopcap
from aiopcap import LinkType, Packet, PacketBatch
from tests.support import pcapngfiles as ng
from tests.support.frames import number_of, numbered
from tests.support.pcapfiles import Record, pcap_bytes

pytestmark = pytest.mark.anyio

COUNT = 50
RECORDS = [
    Record(1_700_000_000_000_000_000 + number, data + bytes(number % 5), 1500 + number)
    for number, data in enumerate(numbered(COUNT))
]
PACKETS = [Packet(data, timestamp_ns=ns, wire_length=length) for ns, data, length in RECORDS]

COLUMNS = {
    "timestamps_ns": ("q", [packet.timestamp_ns for packet in PACKETS]),
    "captured_lengths": ("I", [len(packet) for packet in PACKETS]),
    "wire_lengths": ("I", [packet.wire_length for packet in PACKETS]),
}


@pytest.fixture
async def batch() -> AsyncIterator[PacketBatch]:
    async with await aiopcap.open_offline(pcap_bytes(RECORDS, precision="nano")) as capture:
        yield await capture.receive_batch()


async def test_it_is_a_sequence_of_packets(batch: PacketBatch) -> None:
    assert isinstance(batch, Sequence)
    assert len(batch) == COUNT
    assert list(batch) == PACKETS
    assert [batch[index] for index in range(COUNT)] == PACKETS
    assert [batch[index] for index in range(-COUNT, 0)] == PACKETS
    assert list(reversed(batch)) == PACKETS[::-1]
    assert batch.index(PACKETS[7]) == 7
    assert batch.count(PACKETS[7]) == 1
    assert PACKETS[3] in batch
    assert Packet(b"another") not in batch
    assert bool(batch)
    assert not batch[:0]


async def test_it_can_be_iterated_again_and_several_times_at_once(batch: PacketBatch) -> None:
    first, second = iter(batch), iter(batch)
    assert [next(first), next(first), next(second)] == [PACKETS[0], PACKETS[1], PACKETS[0]]
    assert list(first) == PACKETS[2:]
    assert list(batch) == PACKETS
    with pytest.raises(StopIteration):
        next(first)


@pytest.mark.parametrize("index", [COUNT, COUNT + 1, -COUNT - 1, 10**30, -(10**30), 2**63])
async def test_an_index_out_of_range(batch: PacketBatch, index: int) -> None:
    with pytest.raises(IndexError):
        _ = batch[index]
    with pytest.raises(IndexError):
        _ = batch[:0][0]


@pytest.mark.parametrize("index", ["1", 1.0, None, (1,)])
async def test_what_is_no_index(batch: PacketBatch, index: Any) -> None:
    with pytest.raises(TypeError):
        _ = batch[index]


async def test_numbers_of_numpy_are_indices(batch: PacketBatch) -> None:
    numpy = pytest.importorskip("numpy")
    for index in numpy.flatnonzero(numpy.asarray(batch.wire_lengths) > 1545):
        assert batch[index] == PACKETS[index]
    assert batch[True] == PACKETS[1]


@given(
    st.none() | st.integers(-60, 60),
    st.none() | st.integers(-60, 60),
    st.none() | st.integers(-60, 60).filter(bool),
)
async def test_slices_are_those_of_a_list(
    start: int | None, stop: int | None, step: int | None
) -> None:
    part = slice(start, stop, step)
    async with await aiopcap.open_offline(pcap_bytes(RECORDS, precision="nano")) as capture:
        chosen = (await capture.receive_batch())[part]
    assert isinstance(chosen, PacketBatch)
    assert list(chosen) == PACKETS[part]
    for name, (_, values) in COLUMNS.items():
        assert getattr(chosen, name).tolist() == values[part]
    assert list(chosen[::-1]) == PACKETS[part][::-1]
    assert list(chosen[1:3]) == PACKETS[part][1:3]


async def test_a_step_of_nothing(batch: PacketBatch) -> None:
    with pytest.raises(ValueError, match="zero"):
        _ = batch[::0]


@pytest.mark.parametrize("name", COLUMNS)
async def test_columns_are_typed_and_read_only(batch: PacketBatch, name: str) -> None:
    code, values = COLUMNS[name]
    column = getattr(batch, name)
    assert column.tolist() == values
    assert (column.format, column.ndim, column.shape) == (code, 1, (COUNT,))
    assert column.itemsize == (8 if code == "q" else 4)
    with pytest.raises(TypeError):
        column[0] = 0


async def test_offsets_lead_to_the_data(batch: PacketBatch) -> None:
    assert batch.offsets.format == "I"
    assert batch.data.readonly
    for packet, offset, length in zip(PACKETS, batch.offsets, batch.captured_lengths, strict=True):
        assert bytes(batch.data[offset : offset + length]) == packet.data
    assert batch.nbytes == sum(len(packet) for packet in PACKETS)


async def test_columns_become_arrays_without_a_copy(batch: PacketBatch) -> None:
    numpy = pytest.importorskip("numpy")
    for name, dtype in (
        ("timestamps_ns", "int64"),
        ("offsets", "uint32"),
        ("captured_lengths", "uint32"),
        ("wire_lengths", "uint32"),
        ("data", "uint8"),
    ):
        first, second = (numpy.asarray(getattr(batch, name)) for _ in range(2))
        assert first.dtype == dtype
        assert numpy.shares_memory(first, second)
        assert not first.flags.writeable
    assert numpy.asarray(batch[10:].timestamps_ns).tolist() == COLUMNS["timestamps_ns"][1][10:]


@pytest.mark.parametrize(
    "name",
    ["data", "timestamps_ns", "offsets", "captured_lengths", "wire_lengths", "linktype", "nbytes"],
)
async def test_nothing_can_be_changed(batch: PacketBatch, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(batch, name, None)
    with pytest.raises(AttributeError):
        batch.comment = "mine"  # type: ignore[attr-defined]


async def test_everything_outlives_batch_and_capture(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap_bytes(RECORDS, precision="nano"))
    async with await aiopcap.open_offline(path) as capture:
        whole = await capture.receive_batch()
    column, array = whole.timestamps_ns, numpy.asarray(whole.data)
    expected = array.tobytes()
    part, packet, iterator = whole[40:], whole[3], iter(whole)
    next(iterator)
    del whole, capture
    gc.collect()
    _ = [bytes(1 << 20) for _ in range(20)]  # would reuse memory that was freed
    assert column.tolist() == COLUMNS["timestamps_ns"][1]
    assert array.tobytes() == expected
    assert list(part) == PACKETS[40:]
    assert packet == PACKETS[3]
    assert list(iterator) == PACKETS[1:]


async def test_a_batch_stays_as_it_is_while_the_capture_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "large.pcap"
    datas = numbered(60_000, size=100)
    path.write_bytes(pcap_bytes([Record(0, data) for data in datas]))
    kept: list[PacketBatch] = []
    async with await aiopcap.open_offline(path) as capture:
        async for batch in capture.batches():
            kept.append(batch)  # noqa: PERF401
    assert len(kept) >= 3
    assert [number_of(packet.data) for batch in kept for packet in batch] == list(range(60_000))


async def test_batches_are_compared_by_their_packets(batch: PacketBatch) -> None:
    async with await aiopcap.open_offline(pcap_bytes(RECORDS, precision="nano")) as capture:
        assert await capture.receive_batch() == batch
    assert batch[1:] != batch
    assert batch[1:5] == batch[1:5]
    assert batch[1:5] != batch[2:6]
    assert batch[:0] == batch[5:5]
    assert batch != PACKETS
    with pytest.raises(TypeError):
        hash(batch)


async def test_the_repr_has_no_contents(batch: PacketBatch) -> None:
    assert repr(batch) == "<PacketBatch of 50 packets, EN10MB>"


@pytest.mark.parametrize(
    "again",
    [lambda batch: pickle.loads(pickle.dumps(batch)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
async def test_copies_hold_the_same_packets(batch: PacketBatch, again: Any) -> None:
    for original in (batch, batch[10:20], batch[::-3], batch[:0]):
        copied = again(original)
        assert list(copied) == list(original)
        assert copied.linktype is LinkType.EN10MB
        assert list(copied.interfaces) == list(original.interfaces)


async def test_a_pickle_holds_no_other_packets(batch: PacketBatch) -> None:
    # Neither what was sliced nor what was filtered away may travel along.
    for chosen in (batch[7:8], aiopcap.compile("len = 1507").select(batch)):
        assert [packet.data for packet in chosen] == [PACKETS[7].data]
        pickled = pickle.dumps(chosen)
        assert PACKETS[7].data in pickled
        assert PACKETS[8].data not in pickled


async def test_interfaces_are_named_packet_by_packet() -> None:
    content = ng.section() + ng.interface(name="lan0") + ng.interface(name="wan0")
    for number in (1, 0, 1):
        content += ng.enhanced_packet(b"x", 1, interface_id=number)
    async with await aiopcap.open_offline(content) as capture:
        batch = await capture.receive_batch()
    assert list(batch.interfaces) == ["wan0", "lan0", "wan0"]
    assert [packet.interface for packet in batch[::-1]] == ["wan0", "lan0", "wan0"]
    assert list(batch[1:].interfaces) == ["lan0", "wan0"]
    again = pickle.loads(pickle.dumps(batch))
    assert list(again.interfaces) == ["wan0", "lan0", "wan0"]


async def test_a_name_from_a_file_is_harmless_in_a_log() -> None:
    content = ng.section() + ng.interface(name="\x1b[31m\n") + ng.enhanced_packet(b"x", 1)
    async with await aiopcap.open_offline(content) as capture:
        packet = await capture.receive()
    assert packet.interface == "\x1b[31m\n"
    assert repr(packet).isprintable()
