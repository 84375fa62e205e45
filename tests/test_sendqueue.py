"""Send queues as containers: what goes in comes out, and never more than there is room for."""

from __future__ import annotations

import array
import io
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import pytest

import aiopcap
from aiopcap import LinkType, Packet, QueueFullError, SendQueue

from .support import pcapngfiles as ng
from .support.frames import frame, numbered
from .support.pcapfiles import Record, pcap_bytes, records
from .support.veth import Veth
from .support_queues import sending, spaced

pytestmark = pytest.mark.anyio

# What WinPcap counts for each packet beside its bytes.
HEADER = 16


async def batch_of(content: bytes, **options: Any) -> aiopcap.PacketBatch:
    """Read a savefile that is one batch."""
    async with await aiopcap.open_offline(content, **options) as capture:
        return await capture.receive_batch()


def test_a_queue_counts_packets_and_bytes_as_winpcap_does() -> None:
    queue = SendQueue()
    assert (len(queue), queue.nbytes, queue.queue_nbytes, queue.maxlen) == (0, 0, 0, None)
    for size in (60, 0, 1514):
        queue.append(bytes(size))
    assert (len(queue), queue.nbytes) == (3, 1574)
    assert queue.queue_nbytes == 1574 + 3 * HEADER
    queue.clear()
    assert (len(queue), queue.nbytes, queue.queue_nbytes, list(queue)) == (0, 0, 0, [])
    queue.append(b"again")
    assert [packet.data for packet in queue] == [b"again"]


def test_an_exact_fit_is_accepted_and_a_byte_less_is_not() -> None:
    frames = numbered(5)
    needed = sum(HEADER + len(data) for data in frames)
    queue = SendQueue(needed)
    for data in frames:
        queue.append(data)
    assert queue.queue_nbytes == queue.maxlen == needed
    queue = SendQueue(needed - 1)
    for data in frames[:4]:
        queue.append(data)
    with pytest.raises(QueueFullError, match=str(needed - 1)):
        queue.append(frames[4])
    assert [packet.data for packet in queue] == frames[:4]
    assert queue.queue_nbytes == needed - HEADER - 60
    queue.append(frames[4][:59])
    assert queue.queue_nbytes == needed - 1


def test_an_empty_packet_costs_its_header() -> None:
    assert len(SendQueue(0)) == 0
    for too_small in (0, 15):
        with pytest.raises(QueueFullError):
            SendQueue(too_small).append(b"")
    SendQueue(16).append(b"")
    with pytest.raises(ValueError, match="-1"):
        SendQueue(-1)


def test_a_full_queue_is_a_buffer_error() -> None:
    with pytest.raises(BufferError) as caught:
        SendQueue(10).append(b"")
    assert isinstance(caught.value, aiopcap.PcapError)


FILE = pcap_bytes(records(numbered(300)))
NEEDED = 300 * (60 + HEADER)


async def _from_list(queue: SendQueue) -> None:
    queue.extend(numbered(300))


async def _from_generator(queue: SendQueue) -> None:
    queue.extend(Packet(data) for data in numbered(300))


async def _from_batch(queue: SendQueue) -> None:
    queue.extend(await batch_of(FILE))


async def _from_packets(queue: SendQueue) -> None:
    queue.extend(list(await batch_of(FILE)))


async def _from_queue(queue: SendQueue) -> None:
    other = SendQueue()
    other.extend(numbered(300))
    queue.extend(other)


async def _from_capture(queue: SendQueue) -> None:
    async with await aiopcap.open_offline(FILE) as capture:
        await queue.extend_from(capture)


@pytest.mark.parametrize(
    "fill",
    [_from_list, _from_generator, _from_batch, _from_packets, _from_queue, _from_capture],
)
async def test_all_of_an_extension_or_nothing(fill: Callable[[SendQueue], Any]) -> None:
    before = b"before"
    queue = SendQueue(NEEDED + HEADER + len(before))
    queue.append(before)
    await fill(queue)
    assert [packet.data for packet in queue] == [before, *numbered(300)]
    assert queue.queue_nbytes == queue.maxlen
    short = SendQueue(NEEDED + HEADER + len(before) - 1)
    short.append(before)
    with pytest.raises(QueueFullError):
        await fill(short)
    assert [packet.data for packet in short] == [before]
    assert (short.nbytes, short.queue_nbytes) == (6, 6 + HEADER)


def test_what_never_ends_ends_where_the_queue_does() -> None:
    queue = SendQueue(10_000)
    with pytest.raises(QueueFullError):
        queue.extend(itertools.repeat(frame()))
    assert len(queue) == 0


def test_an_iterable_that_fails_adds_nothing() -> None:
    def frames() -> Iterable[bytes]:
        yield from numbered(3)
        raise LookupError

    queue = SendQueue()
    with pytest.raises(LookupError):
        queue.extend(frames())
    with pytest.raises(TypeError):
        queue.extend([frame(), "no bytes"])  # type: ignore[list-item]
    assert (len(queue), queue.nbytes) == (0, 0)


async def test_a_damaged_file_adds_nothing() -> None:
    queue = spaced([1, 2])
    async with await aiopcap.open_offline(FILE[:-1]) as capture:
        with pytest.raises(aiopcap.TruncatedSavefileError):
            await queue.extend_from(capture)
    assert [packet.timestamp_ns for packet in queue] == [1, 2]


async def test_a_cancelled_extension_adds_nothing() -> None:
    queue = spaced([1, 2])
    async with await aiopcap.open_offline(io.BytesIO(FILE)) as capture:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.extend_from(capture)
    assert scope.cancelled_caught
    assert len(queue) == 2


def test_a_queue_may_be_added_to_itself() -> None:
    queue = spaced([3, 1, 2])
    queue.extend(queue)
    assert [packet.timestamp_ns for packet in queue] == [3, 1, 2, 3, 1, 2]


def test_indexes_and_slices_are_those_of_a_list() -> None:
    queue = spaced(range(700))
    packets = [Packet(data, timestamp_ns=n) for n, data in enumerate(numbered(700))]
    assert list(queue) == packets
    assert queue[0] == packets[0]
    assert queue[-1] == packets[-1]
    assert queue[-700] == packets[0]
    for part in (slice(None), slice(250, 260), slice(-3, None), slice(None, None, -100)):
        assert queue[part] == packets[part]
    for outside in (700, -701):
        with pytest.raises(IndexError):
            queue[outside]
    assert queue.index(packets[300]) == 300
    assert packets[4] in queue
    assert next(reversed(queue)) == packets[-1]


def test_packets_keep_what_they_are() -> None:
    kept = Packet(b"x" * 60, timestamp_ns=1_700_000_000_123_456_789, wire_length=1514)
    cooked = Packet(b"y" * 20, timestamp_ns=-1, linktype=LinkType.LINUX_SLL)
    queue = SendQueue()
    queue.append(kept)
    queue.append(cooked)
    queue.append(cooked, timestamp_ns=0)
    assert queue[0] == kept
    assert (queue[0].wire_length, queue[0].linktype) == (1514, None)
    assert (queue[1].timestamp_ns, queue[1].linktype) == (-1, LinkType.LINUX_SLL)
    assert queue[2].timestamp_ns == 0


async def test_a_batch_keeps_what_it_is() -> None:
    content = pcap_bytes(
        [Record(1_700_000_000_123_456_789, b"x" * 60, 1514)] * 300, precision="nano", linktype=101
    )
    for count in (3, 300):
        queue = SendQueue()
        queue.extend((await batch_of(content))[:count])
        assert len(queue) == count
        packet = queue[count - 1]
        assert (packet.timestamp_ns, packet.data) == (1_700_000_000_123_456_789, b"x" * 60)
        assert (packet.wire_length, packet.linktype) == (1514, LinkType.RAW)


async def test_the_interface_is_treated_alike_whatever_the_size() -> None:
    head = ng.section() + ng.interface(name="eth0") + ng.interface(name="eth1")
    body = b"".join(ng.enhanced_packet(frame(), n, interface_id=n % 2) for n in range(300))
    batch = await batch_of(head + body)
    seen = []
    for count in (4, 300):
        queue = SendQueue()
        queue.extend(batch[:count])
        seen.append([packet.interface for packet in queue[:4]])
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "buffer",
    [bytearray(b"abcdefgh"), memoryview(b"abcdefgh"), array.array("I", b"abcdefgh")],
    ids=["bytearray", "memoryview", "array"],
)
def test_any_buffer_is_copied(buffer: Any) -> None:
    queue = SendQueue(HEADER + 8)
    queue.append(buffer)
    if not isinstance(buffer, memoryview):
        buffer[0] = 0
    assert queue[0].data == b"abcdefgh"
    assert queue[0].wire_length == 8


def test_buffers_take_the_time_of_the_packet_before() -> None:
    queue = SendQueue()
    queue.append(b"first")
    queue.append(Packet(b"second", timestamp_ns=5))
    queue.append(b"third")
    queue.append(b"fourth", timestamp_ns=7)
    queue.extend([b"fifth", Packet(b"sixth", timestamp_ns=9), b"seventh"])
    assert [packet.timestamp_ns for packet in queue] == [0, 5, 5, 7, 7, 9, 9]


@pytest.mark.parametrize("when", [2**63, -(2**63) - 1])
def test_a_time_beyond_64_bits_is_refused(when: int) -> None:
    queue = spaced([2**63 - 1, -(2**63)])
    with pytest.raises(OverflowError):
        queue.append(frame(), timestamp_ns=when)
    queue.append(b"after")
    assert [packet.timestamp_ns for packet in queue] == [2**63 - 1, -(2**63), -(2**63)]
    assert [len(packet) for packet in queue] == [60, 60, 5]
    assert queue.nbytes == 125


@pytest.mark.net
async def test_a_queue_cannot_change_while_it_is_transmitted(veth: Veth) -> None:
    queue = spaced([0, 3_600_000_000_000])
    async with sending(veth) as (capture, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: queue.transmit(capture, sync=True))
        await peer.first()
        with pytest.raises(anyio.BusyResourceError):
            queue.append(frame())
        with pytest.raises(anyio.BusyResourceError):
            queue.extend([frame()])
        with pytest.raises(anyio.BusyResourceError):
            queue.clear()
        async with await aiopcap.open_offline(FILE) as file:
            with pytest.raises(anyio.BusyResourceError):
                await queue.extend_from(file)
        assert [packet.timestamp_ns for packet in queue] == [0, 3_600_000_000_000]
        tasks.cancel_scope.cancel()
    queue.append(frame())
    assert len(queue) == 3
