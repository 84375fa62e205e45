"""Send queues filled in any way, against a plain list."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiopcap
from aiopcap import LinkType, Packet, PacketBatch, QueueFullError, SendQueue

from .support import pcapngfiles as ng
from .support.frames import frame, udp_frame
from .support.pcapfiles import Record, pcap_bytes
from .support.veth import Veth
from .support_queues import sending

HEADER = 16
INTERFACES = ["eth0", "lan", "wlan1"]
START = 1_700_000_000_000_000_000


class Row(NamedTuple):
    """A packet as the model has it."""

    timestamp_ns: int
    data: bytes
    wire_length: int
    linktype: LinkType | None = LinkType.EN10MB
    interface: str | None = None


class Source(NamedTuple):
    """A batch, and what has to be in it."""

    batch: PacketBatch
    rows: list[Row]


def _row_of(packet: Packet) -> Row:
    return Row(
        packet.timestamp_ns, packet.data, packet.wire_length, packet.linktype, packet.interface
    )


def _datas(count: int) -> list[bytes]:
    """Frames of many sizes; every seventh is a datagram."""
    return [
        udp_frame(number.to_bytes(8, "big"), size=100)
        if number % 7 == 0
        else frame(number.to_bytes(8, "big"), size=60 + number % 50)
        for number in range(count)
    ]


def _pcap(rows: list[Row], linktype: int = 1) -> bytes:
    return pcap_bytes([Record(*row[:3]) for row in rows], precision="nano", linktype=linktype)


def _pcapng(rows: list[Row]) -> bytes:
    head = [ng.section(), *(ng.interface(tsresol=9, name=name) for name in INTERFACES)]
    body = [
        ng.enhanced_packet(
            row.data,
            row.timestamp_ns,
            interface_id=INTERFACES.index(row.interface or ""),
            wire_length=row.wire_length,
        )
        for row in rows
    ]
    return b"".join([*head, *body])


async def _read(content: bytes, expression: str | None = None) -> PacketBatch:
    async with await aiopcap.open_offline(content, filter=expression) as capture:
        return await capture.receive_batch()


@cache
def sources() -> dict[str, Source]:
    """Batches of each kind, each as one read gives it."""
    rows = [Row(START + 7 * n, data, len(data)) for n, data in enumerate(_datas(2000))]
    cut = [row._replace(data=row.data[:30]) if n % 3 else row for n, row in enumerate(rows[:300])]
    raw = [row._replace(linktype=LinkType.RAW) for row in rows[:300]]
    named = [row._replace(interface=INTERFACES[n % 3]) for n, row in enumerate(rows)]

    async def read() -> dict[str, Source]:
        whole = await _read(_pcap(rows))
        return {
            "small": Source(await _read(_pcap(rows[:5])), rows[:5]),
            "dense": Source(whole, rows),
            "every third": Source(whole[::3], rows[::3]),
            "backwards": Source(whole[::-1], rows[::-1]),
            "filtered": Source(await _read(_pcap(rows), "udp"), rows[::7]),
            "cut": Source(await _read(_pcap(cut)), cut),
            "raw": Source(await _read(_pcap(raw, 101)), raw),
            "pcapng": Source(await _read(_pcapng(named)), named),
            "pcapng filtered": Source(await _read(_pcapng(named), "udp"), named[::7]),
        }

    return anyio.run(read)


class Model:
    """A list beside a queue."""

    def __init__(self, maxlen: int | None) -> None:
        self.queue = SendQueue(maxlen)
        self.rows: list[Row] = []

    @property
    def last(self) -> int:
        """The time that a buffer gets."""
        return self.rows[-1].timestamp_ns if self.rows else 0

    def as_rows(self, frames: list[Any]) -> list[Row]:
        """What frames become when they are added now."""
        rows: list[Row] = []
        for item in frames:
            last = rows[-1].timestamp_ns if rows else self.last
            if isinstance(item, Packet):
                rows.append(_row_of(item))
            else:
                rows.append(Row(last, bytes(item), len(item), None))
        return rows

    def add(self, rows: list[Row], method: Any, *arguments: Any) -> None:
        """Add rows by a method of the queue, which has to take all or none of them."""
        needed = sum(HEADER + len(row.data) for row in self.rows + rows)
        if self.queue.maxlen is not None and needed > self.queue.maxlen:
            with pytest.raises(QueueFullError):
                method(*arguments)
        else:
            method(*arguments)
            self.rows += rows

    def append(self, item: Any, when: int | None) -> None:
        (row,) = self.as_rows([item])
        self.add(
            [row if when is None else row._replace(timestamp_ns=when)], *self._append(item, when)
        )

    def _append(self, item: Any, when: int | None) -> tuple[Any, ...]:
        return (self.queue.append, item) if when is None else (self.queue.append, item, when)

    def extend(self, frames: list[Any], lazily: bool) -> None:
        rows = self.as_rows(frames)
        self.add(rows, self.queue.extend, iter(frames) if lazily else frames)

    def extend_by(self, kind: str, part: slice) -> None:
        source = sources()[kind]
        self.add(source.rows[part], self.queue.extend, source.batch[part])

    def extend_by_itself(self) -> None:
        if len(self.rows) < 10_000:
            self.add(list(self.rows), self.queue.extend, self.queue)

    def extend_and_fail(self, frames: list[Any]) -> None:
        def failing() -> Iterator[Any]:
            yield from frames
            raise LookupError

        with pytest.raises((LookupError, QueueFullError)):
            self.queue.extend(failing())

    def clear(self) -> None:
        self.queue.clear()
        self.rows.clear()

    def look(self, index: int) -> None:
        """Compare a packet somewhere, and what is between."""
        if self.rows:
            index %= len(self.rows)
            assert _row_of(self.queue[index]) == self.rows[index]
            assert _row_of(self.queue[index - len(self.rows)]) == self.rows[index]
        part = slice(index, None, 97)
        assert [_row_of(packet) for packet in self.queue[part]] == self.rows[part]

    def compare(self) -> None:
        """Compare all of it."""
        assert [_row_of(packet) for packet in self.queue] == self.rows
        assert len(self.queue) == len(self.rows)
        assert self.queue.nbytes == sum(len(row.data) for row in self.rows)
        assert self.queue.queue_nbytes == self.queue.nbytes + HEADER * len(self.rows)


def _view(data: bytes) -> memoryview:
    return memoryview(data)


DATA = st.binary(max_size=40)
TIMES = st.integers(-(2**63), 2**63 - 1)
BUFFERS = st.one_of(DATA, DATA.map(bytearray), DATA.map(_view))
PACKETS = st.builds(
    lambda data, when, more, linktype, interface: Packet(
        data,
        timestamp_ns=when,
        wire_length=len(data) + more,
        linktype=linktype,
        interface=interface,
    ),
    DATA,
    TIMES,
    st.integers(0, 1000),
    st.sampled_from([None, LinkType.EN10MB, LinkType.RAW]),
    st.sampled_from([None, *INTERFACES]),
)
FRAMES = st.one_of(BUFFERS, PACKETS)
PARTS = st.builds(
    slice, st.integers(0, 1500), st.one_of(st.none(), st.integers(0, 2000)), st.integers(1, 4)
)
KINDS = st.deferred(lambda: st.sampled_from(sorted(sources())))
STEPS = st.one_of(
    st.tuples(st.just(Model.append), FRAMES, st.one_of(st.none(), TIMES)),
    st.tuples(st.just(Model.extend), st.lists(FRAMES, max_size=20), st.booleans()),
    st.tuples(st.just(Model.extend_by), KINDS, PARTS),
    st.tuples(st.just(Model.extend_by_itself)),
    st.tuples(st.just(Model.extend_and_fail), st.lists(FRAMES, max_size=5)),
    st.tuples(st.just(Model.look), st.integers(0, 5000)),
    st.tuples(st.just(Model.clear)),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    maxlen=st.one_of(st.none(), st.integers(0, 200_000)),
    steps=st.lists(STEPS, max_size=15),
)
def test_a_queue_is_a_list_with_a_limit(maxlen: int | None, steps: list[tuple[Any, ...]]) -> None:
    model = Model(maxlen)
    for step, *arguments in steps:
        step(model, *arguments)
    model.compare()


@pytest.mark.anyio
@pytest.mark.net
@pytest.mark.parametrize("seed", range(3))
async def test_what_a_queue_holds_is_what_is_sent(veth: Veth, seed: int) -> None:
    chance = random.Random(seed)
    model = Model(None)
    kinds = [kind for kind in sorted(sources()) if kind not in ("cut", "raw")]
    for kind in chance.sample(kinds, len(kinds)):
        model.extend([frame(chance.randbytes(20)) for _ in range(chance.randrange(5))], True)
        model.extend_by(kind, slice(chance.randrange(100), None))
        model.append(Packet(frame(chance.randbytes(30))), None)
    async with sending(veth) as (capture, peer):
        report = await model.queue.transmit(capture)
        assert report.packets == peer.count == len(model.rows)
        assert peer.datas(peer.count) == [row.data for row in model.rows]
