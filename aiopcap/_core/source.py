"""What a capture reads from, in the words of the core: the seam below every capture."""

from typing import Protocol

from aiopcap._core.batch import PacketBatch
from aiopcap._core.filter import CompiledFilter, Filter
from aiopcap._core.interfaces import Interface
from aiopcap._core.linktype import LinkType


class PacketSource(Protocol):
    """A source of batches that never waits.

    `read_batch` returns None when nothing is there *now*; what "now" means, and how to wait for
    the next, is the capture's business. It may return an empty batch: call again, after a pause.
    An end or an error is raised after all packets before it were returned, and again by each
    later call.
    """

    linktype: LinkType
    snaplen: int
    # What a pcap header says of the frames' checksums, beside the link type.
    checksum_bits: int

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """What is known of the interfaces that packets name."""

    def read_batch(self) -> PacketBatch | None:
        """Return packets that are there, or None.

        Raises:
            EOFError: After the last packet of a source that ends.
            PcapError: When the source failed.
        """

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""

    def compile(self, filter: str | Filter | None) -> CompiledFilter:
        """Compile for this source; may block on host names, and run beside the other calls."""

    def set_filter(self, compiled: CompiledFilter) -> None:
        """Let only matching packets pass from now on."""

    def passing(self, batch: PacketBatch) -> PacketBatch:
        """Return what of a batch that was read passes the filter; all, where the kernel filters."""

    def close(self) -> None:
        """Free everything. Idempotent."""
