"""What a live capture can be asked for, and what it counts."""

import operator
from dataclasses import dataclass
from typing import NamedTuple

from aiopcap._core.constants import Direction, TimestampType
from aiopcap._core.filter import check_snaplen

# libpcap's own default is 2 MiB. With TPACKET_V3 that is 8 blocks, and as the kernel hands a block
# over when the buffer timeout ends, full or not, at 1 ms it bridges a stall of 8 ms only, whatever
# the rate: one garbage collection. 16 MiB bridge 64 ms.
DEFAULT_BUFFER_SIZE = 16 * 1024 * 1024


class CaptureStatistics(NamedTuple):
    """Counters since the capture was opened; 64 bits, although libpcap's wrap at 32.

    What exactly each counts differs between systems; see pcap_stats(3PCAP). On Linux:

    Attributes:
        received: Packets that passed the filter, dropped ones included.
        dropped: Packets that the buffer had no room for.
        if_dropped: Packets that the device or its driver dropped, for whatever reader.
    """

    received: int
    dropped: int
    if_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """The options of `open_live`, checked."""

    snaplen: int = 262144
    promisc: bool = True
    buffer_timeout: float = 0.001
    immediate: bool = False
    buffer_size: int | None = None
    direction: Direction = Direction.INOUT
    rfmon: bool = False
    timestamp_type: TimestampType | None = None
    fanout: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_snaplen(self.snaplen)
        # Compared rather than asked for: isfinite() fails for an int that is too large.
        if not 0 < self.buffer_timeout <= 2**31 / 1000 - 1:
            # Zero is not "at once": with TPACKET_V3 the kernel then hands over full blocks only.
            raise ValueError(
                f"buffer_timeout must be a positive number of seconds, not {self.buffer_timeout!r};"
                " for no buffering at all there is immediate=True"
            )
        if self.buffer_size is not None and not 1 <= operator.index(self.buffer_size) < 2**31:
            raise ValueError(f"buffer_size must be within 1…2³¹−1 bytes, not {self.buffer_size}")
        if self.fanout is not None:
            group, mode = self.fanout
            if not (0 <= group <= 0xFFFF and 0 <= mode <= 0xFFFF):
                raise ValueError(f"fanout takes a group and a mode of 16 bits, not {self.fanout}")

    @property
    def buffer_bytes(self) -> int:
        """The size of the kernel's buffer."""
        return DEFAULT_BUFFER_SIZE if self.buffer_size is None else self.buffer_size
