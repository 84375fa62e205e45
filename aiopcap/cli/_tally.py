"""Counting packets by their columns, without an object for each."""

import operator
from collections import Counter
from itertools import pairwise, starmap

from aiopcap import LinkType, PacketBatch


class Tally:
    """What there is in a file, as far as it was read.

    Attributes:
        packets: How many there are.
        captured_bytes: Their bytes in the file.
        wire_bytes: Their bytes on the wire.
        cut_packets: How many had more bytes on the wire than there are in the file.
        untimed_packets: How many have no time: some pcapng packets.
        out_of_order: How many have an earlier time than the one before.
        first_ns: The earliest time, in nanoseconds since 1970.
        last_ns: The latest.
        linktypes: How many packets begin with what.
        interfaces: How many came from which interface, by its name and link type.

    Args:
        pcapng: Whether a packet with a time of 0 has none.
    """

    def __init__(self, *, pcapng: bool) -> None:
        self.packets = 0
        self.captured_bytes = 0
        self.wire_bytes = 0
        self.cut_packets = 0
        self.untimed_packets = 0
        self.out_of_order = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.linktypes: Counter[LinkType] = Counter()
        self.interfaces: Counter[tuple[str | None, LinkType]] = Counter()
        self._pcapng = pcapng
        self._previous_ns: int | None = None

    def add(self, batch: PacketBatch) -> None:
        """Count a batch."""
        captured, wire = batch.captured_lengths, batch.wire_lengths
        self.packets += len(batch)
        self.captured_bytes += sum(captured)
        self.wire_bytes += sum(wire)
        if captured != wire:
            self.cut_packets += sum(map(operator.lt, captured, wire))
        self.linktypes[batch.linktype] += len(batch)
        if self._pcapng:
            for name, packets in Counter(batch.interfaces).items():
                self.interfaces[name, batch.linktype] += packets
        self._add_times(batch.timestamps_ns.tolist())

    def _add_times(self, times: list[int]) -> None:
        if self._pcapng and 0 in times:
            timed = [time for time in times if time]
            self.untimed_packets += len(times) - len(timed)
            times = timed
        if not times:
            return
        if self._previous_ns is not None and times[0] < self._previous_ns:
            self.out_of_order += 1
        self.out_of_order += sum(starmap(operator.gt, pairwise(times)))
        self._previous_ns = times[-1]
        first, last = min(times), max(times)
        self.first_ns = first if self.first_ns is None else min(self.first_ns, first)
        self.last_ns = last if self.last_ns is None else max(self.last_ns, last)
