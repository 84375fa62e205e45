"""A savefile sink that splits by the packets' time, and says what pcap cannot hold."""

from collections.abc import Iterable, Iterator

import anyio

from aiopcap import Dumper, Interface, LinkType, PacketBatch
from aiopcap.cli._running import Failure
from aiopcap.cli._sinks import SavefileSink


class ConvertingSink(SavefileSink):
    """A savefile, or several in a rotation.

    Args:
        dumper: Stays open.
        name: The savefile's, for messages.
        flush: Whether each batch goes out at once, for whoever reads the other end of a pipe.
        split_seconds: How long the packets of a file are, where the time ends one.
    """

    def __init__(
        self, dumper: Dumper, *, name: str, flush: bool, split_seconds: float | None
    ) -> None:
        super().__init__(dumper, flush=flush)
        self._name = name
        self._span_ns = None if split_seconds is None else max(1, round(split_seconds * 1e9))
        self._ends_ns: int | None = None

    async def take(self, batch: PacketBatch) -> None:
        """Write a batch; cancelled, it has written and counted a part of it, or all."""
        only = self._dumper.linktype
        if self._dumper.format == "pcap" and only is not None and batch.linktype != only:
            raise one_linktype(self._name, [only, batch.linktype])
        if self._span_ns is None:
            await super().take(batch)
            return
        for part in self._parts(batch, self._span_ns):
            await super().take(part)

    async def take_statistics(self, interface: Interface) -> None:
        """Write what an interface has counted, if that is known and the format has a place."""
        if self._dumper.format != "pcapng" or interface.statistics is None:
            return
        name, statistics, linktype = interface.name, interface.statistics, interface.linktype
        with anyio.CancelScope(shield=True):
            try:
                await self._dumper.send_statistics(name, statistics, linktype=linktype)
            except OSError as error:
                self.failure = error
                raise

    def _parts(self, batch: PacketBatch, span_ns: int) -> Iterator[PacketBatch]:
        """Give the parts of a batch that go to one file each, and end files between them."""
        times = batch.timestamps_ns
        first = 0
        while first < len(batch):
            if self._ends_ns is None:
                self._ends_ns = times[first] + span_ns
            elif times[first] >= self._ends_ns:
                self._dumper.end_file()
                self._ends_ns += ((times[first] - self._ends_ns) // span_ns + 1) * span_ns
            last = first + _before(times[first:], self._ends_ns)
            yield batch[first:last]
            first = last


def _before(times: memoryview, end_ns: int) -> int:
    """Return how many of the first packets come before a time."""
    if max(times) < end_ns:
        return len(times)
    return next(number for number, time in enumerate(times) if time >= end_ns)


def one_linktype(name: str, linktypes: Iterable[LinkType]) -> Failure:
    """Return the error that packets do not go into one pcap file, with what helps."""
    names = " and ".join(sorted(linktype.name for linktype in linktypes))
    return Failure(
        f"{name}: a pcap file has packets of one link type only, and these are {names}: write "
        "pcapng, by --format pcapng or a name that ends with .pcapng"
    )
