"""What a capture reads from, in the words of the core: the seam below every capture."""

from typing import Protocol

from aiopcap._core.batch import PacketBatch
from aiopcap._core.filter import Filter
from aiopcap._core.linktype import LinkType


class PacketSource(Protocol):
    """A source of batches that never waits.

    `read_batch` returns None when nothing is there *now*; what "now" means, and how to wait for
    the next, is the capture's business (`fileno`, `required_timeout`). An end or an error is
    raised after all packets before it were returned, and again by each later call.
    """

    @property
    def linktype(self) -> LinkType:
        """What the packets begin with."""

    @property
    def snaplen(self) -> int:
        """The most bytes of a packet that are captured."""

    def read_batch(self, max_packets: int) -> PacketBatch | None:
        """Return packets that are ready, or None.

        Raises:
            EOFError: After the last packet of a source that ends.
            PcapError: When the source failed.
        """

    def set_filter(self, program: Filter | None) -> None:
        """Let only matching packets pass from now on."""

    def close(self) -> None:
        """Free everything. Idempotent."""
