"""Packets as lines of text."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from aiopcap import Packet, PacketBatch
from aiopcap.cli._summary import summary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LineFormat:
    """One line a packet: time, device, length, summary.

    Args:
        clock: "local" for the time of day, "utc" for date and time in UTC, "epoch" for seconds.
        device: Whether to say which device each packet came from.
        hex: Whether the packet's bytes follow its line.
    """

    def __init__(self, *, clock: str, device: bool, hex: bool) -> None:
        self._clock = clock
        self._device = device
        self._hex = hex
        self._second: int | None = None
        self._second_text = ""

    def text(self, batch: PacketBatch) -> str:
        """Return the lines of all packets of a batch."""
        return "".join(line for packet in batch for line in self._lines(packet))

    def time(self, timestamp_ns: int) -> str:
        """Return a time stamp, with all nine digits of the second's fraction."""
        second, ns = divmod(timestamp_ns, 1_000_000_000)
        if second != self._second:
            # Packets come many to the second, and only the fraction is cheap to format.
            self._second = second
            self._second_text = self._whole_second(second)
        zone = "Z" if self._clock == "utc" else ""
        return f"{self._second_text}.{ns:09d}{zone}"

    def _whole_second(self, second: int) -> str:
        if self._clock == "epoch":
            return str(second)
        if self._clock == "utc":
            return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        return time.strftime("%H:%M:%S", time.localtime(second))

    def _lines(self, packet: Packet) -> Iterator[str]:
        words = [self.time(packet.timestamp_ns)]
        if self._device:
            words.append(packet.interface or "-")
        words.append(f"{length(packet):>5}")
        words.append(summary(packet.data, packet.linktype))
        yield " ".join(words) + "\n"
        if self._hex:
            yield from hex_rows(packet.data)


def length(packet: Packet) -> str:
    """Return the length on the wire, and before it what was captured when that is less."""
    if packet.captured_length == packet.wire_length:
        return str(packet.wire_length)
    return f"{packet.captured_length}/{packet.wire_length}"


def hex_rows(data: bytes) -> Iterator[str]:
    """Give 16 bytes a line: offset, hex digits, and what of it is printable ASCII."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"    {at:04x}  {row.hex(' ', -2):39}  {shown}\n"
