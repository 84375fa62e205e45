"""Send queues: packets kept in memory, to be sent in one go."""

from collections.abc import Iterable, Iterator, Sequence
from typing import final, overload

import anyio

from aiopcap._core.batch import PacketBatch
from aiopcap._core.errors import QueueFullError
from aiopcap._core.packet import Packet
from aiopcap._core.packetstore import PacketStore
from aiopcap._core.sender import Frame
from aiopcap._core.transmission import Pacing, Piece, Transmission, TransmitReport, check_counts
from aiopcap._streams.capture import Capture
from aiopcap._streams.sending import Progress, Target, sending_of


@final
class SendQueue(Sequence[Packet]):
    """Packets in memory, in the order in which they are sent; WinPcap's send queue.

    A packet costs its bytes and 20 more, and no Python object; large batches are kept as they
    are. Indexing and iterating make `Packet` objects.

    Args:
        maxlen: The most bytes, where 16 are counted for each packet beside its own, as WinPcap
            does; no limit where None.
    """

    def __init__(self, maxlen: int | None = None) -> None:
        if maxlen is not None and maxlen < 0:
            raise ValueError(f"maxlen cannot be negative, and is {maxlen}")
        self._maxlen = maxlen
        self._store = PacketStore()
        self._transmitting = 0
        self._last_report: TransmitReport | None = None

    # -- filling ---------------------------------------------------------------------------------

    def append(self, frame: Frame, timestamp_ns: int | None = None) -> None:
        """Add a packet, or any buffer that holds a frame.

        Args:
            frame: What is sent, link-layer header included.
            timestamp_ns: Its time, in nanoseconds. Where it is not given, a packet has its own,
                and a buffer that of the one before it.

        Raises:
            QueueFullError: If there is no room for it.
            OverflowError: If the time does not fit in 64 bits.
            anyio.BusyResourceError: If the queue is being transmitted.
        """
        self._check_idle()
        self._check_room(len(memoryview(frame).cast("B")), 1)
        self._store.append(frame, timestamp_ns)

    def extend(self, packets: "PacketBatch | SendQueue | Iterable[Frame]") -> None:
        """Add packets, all or none of them.

        Raises:
            QueueFullError: If there is no room for all.
            anyio.BusyResourceError: If the queue is being transmitted.
        """
        self._check_idle()
        if isinstance(packets, PacketBatch):
            self._check_room(packets.nbytes, len(packets))
            self._store.extend(packets)
            return
        added = PacketStore(self._store.last_timestamp_ns)
        if isinstance(packets, SendQueue):
            packets = packets._store
        for frame in packets:
            added.append(frame)
            self._check_room(added.nbytes, len(added))
        self._merge(added)

    async def extend_from(self, capture: Capture) -> None:
        """Add all packets of a capture of a file, or all or none of them.

        Cancelled, or when the file is damaged, nothing was added.

        Raises:
            QueueFullError: If there is no room for all.
            PcapError: If the capture failed.
            anyio.BusyResourceError: If the queue is being transmitted.
        """
        self._check_idle()
        added = PacketStore()
        async for batch in capture.batches():
            self._check_room(added.nbytes + batch.nbytes, len(added) + len(batch))
            added.extend(batch)
        self._check_idle()
        self._check_room(added.nbytes, len(added))
        self._merge(added)

    def clear(self) -> None:
        """Remove all packets.

        Raises:
            anyio.BusyResourceError: If the queue is being transmitted.
        """
        self._check_idle()
        self._store = PacketStore()

    def _merge(self, added: PacketStore) -> None:
        for piece in added.pieces():
            self._store.extend(piece.batch)

    def _check_room(self, nbytes: int, packets: int) -> None:
        if self._maxlen is None:
            return
        needed = PacketStore.header_nbytes(packets) + nbytes
        room = self._maxlen - self._store.queue_nbytes
        if needed > room:
            raise QueueFullError(
                f"the send queue has room for {room} of {self._maxlen} bytes, not for {needed}"
            )

    def _check_idle(self) -> None:
        if self._transmitting:
            raise anyio.BusyResourceError("transmitting")

    # -- what is in it ---------------------------------------------------------------------------

    @property
    def maxlen(self) -> int | None:
        """The most bytes, as `queue_nbytes` counts them."""
        return self._maxlen

    @property
    def nbytes(self) -> int:
        """How many bytes the packets have together."""
        return self._store.nbytes

    @property
    def queue_nbytes(self) -> int:
        """How many bytes with 16 more for each packet: the `len` of WinPcap's queue."""
        return self._store.queue_nbytes

    def __len__(self) -> int:
        return len(self._store)

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> list[Packet]: ...
    def __getitem__(self, index: int | slice) -> Packet | list[Packet]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self._store.packet(number) for number in numbers]
        return self._store.packet(numbers)

    def __iter__(self) -> Iterator[Packet]:
        return iter(self._store)

    def __repr__(self) -> str:
        limit = "" if self._maxlen is None else f" of {self._maxlen}"
        return f"<SendQueue of {len(self)} packets, {self.queue_nbytes}{limit} bytes>"

    # -- sending ---------------------------------------------------------------------------------

    @property
    def last_report(self) -> TransmitReport | None:
        """What the last `transmit` sent, also where it failed or was cancelled."""
        return self._last_report

    async def transmit(
        self,
        target: Target,
        *,
        sync: bool = False,
        speed: float = 1.0,
        pps: float | None = None,
        bits_per_second: float | None = None,
        loop: int | None = 1,
        start: int = 0,
        limit: int | None = None,
        timing: str = "exact",
        on_disorder: str = "send",
        send_truncated: bool = False,
        progress: Progress | None = None,
        progress_interval: float = 0.1,
    ) -> TransmitReport:
        """Send all packets, in order. The queue stays as it is, to be sent again.

        As fast as the device takes them, or on a schedule. That is kept against its start: who is
        late once sends at once until the time is made up for, and never drifts.

        Cancelled, it stops within 50 ms, also while it waits for a packet's time. What was sent
        until then is in `last_report`, and `start=queue.last_report.next_index` sends the rest.

        Args:
            target: A live capture.
            sync: Keep the distances of the packets' time stamps. The first is sent at once, a
                packet whose time stamp is before that of the one before it as well.
            speed: With `sync`: 2.0 is twice as fast as the time stamps, 0.5 half.
            pps: Send evenly, so many packets in a second.
            bits_per_second: Send evenly, so many bits of frames in a second (what the device adds
                to a frame on the wire does not count).
            loop: How often to send all; None for endlessly, or until a pass has nothing to send.
                With `sync`, the first packet goes right behind the last of the pass before.
            start: The first packet to send, in the first pass.
            limit: The most packets to send, in all passes together.
            timing: "exact" waits by watching the clock, and takes up to a whole processor; "gentle"
                by sleeping, which is less exact.
            on_disorder: What to do with time stamps that go backwards, with `sync`: "send", or
                "refuse" all.
            send_truncated: Also send packets that a capture's snaplen has cut. By default they are
                left out and counted.
            progress: Called with a `TransmitReport` from time to time, on the event loop, and once
                at the end, also when this fails or is cancelled.
            progress_interval: Seconds from one such call to the next.

        Raises:
            SendError: If a packet could not be sent. Those before it are on the wire.
            ValueError: If an argument is out of range, or time stamps are refused.
            PcapError: If the device takes no frames ("any").
            TypeError: If the target is not a live capture.
            anyio.ClosedResourceError: If the target is closed, also while this sends.
            anyio.BusyResourceError: If another task is sending on it.

        Warns:
            PcapWarning: If the packets begin with something else than the device's do.
        """
        pacing = Pacing(sync, speed, pps, bits_per_second, timing)
        check_counts(loop=loop, limit=limit)
        if not 0 <= start <= len(self):
            raise ValueError(f"start is within 0 and {len(self)}, and not {start}")
        if on_disorder not in ("send", "refuse"):
            raise ValueError(f"on_disorder is 'send' or 'refuse', not {on_disorder!r}")
        sending = sending_of(target, self._store.linktypes)
        if sync and on_disorder == "refuse":
            self._store.check_order(start)
        run = Transmission(sending.sender, pacing, send_truncated=send_truncated, limit=limit)
        self._transmitting += 1
        try:
            with sending.carrier(run, progress, progress_interval) as carrier:
                await carrier.carry(self._passes(run, start, loop))
        finally:
            self._transmitting -= 1
            self._last_report = run.report()
        return self._last_report

    def _passes(self, run: Transmission, start: int, loop: int | None) -> Iterator[Piece]:
        passes, sent = 0, -1
        # What is left out of one pass is left out of all: this one may have been the last.
        while passes != loop and run.packets > sent:
            first = start if passes == 0 else 0
            sent = -1 if first else run.packets
            yield from self._store.pieces(first)
            run.end_pass()
            passes += 1
