"""Capturing from a device."""

from collections.abc import Iterable
from typing import final

import anyio

from aiopcap._core.batch import PacketBatch
from aiopcap._core.constants import Direction, TimestampType
from aiopcap._core.filter import Filter
from aiopcap._core.linktype import LinkType
from aiopcap._core.live import LiveSource
from aiopcap._core.liveoptions import CaptureStatistics, LiveOptions
from aiopcap._core.sender import Frame, FrameSender
from aiopcap._streams._threads import open_in_thread
from aiopcap._streams._warning import warn_user
from aiopcap._streams.capture import Capture, translated
from aiopcap._streams.sending import Sending

# While a device is down its removal is reported by nothing, and libpcap asks to be called every
# millisecond. A quarter of a second finds out soon enough, and costs nothing.
SHORTEST_POLL = 0.05
LONGEST_POLL = 0.25


@final
class LiveCapture(Capture):
    """Packets from a device; open one with `open_live`."""

    def __init__(self, source: LiveSource) -> None:
        super().__init__(source, source.device, source.filter)
        self._live = source
        self._waiting = anyio.CancelScope()
        sender = FrameSender(source)
        self._frames = sender.frames
        self._sending = Sending(sender, self._check_usable, self._look_again)

    async def set_filter(self, filter: str | Filter | None) -> None:
        await super().set_filter(filter)
        if self._live.has_early:
            self._waiting.cancel()

    @property
    def device(self) -> str:
        """The device's name."""
        return self._live.device

    def statistics(self) -> CaptureStatistics:
        """Return what was received and dropped since the capture was opened.

        Raises:
            anyio.ClosedResourceError: If the capture is closed.
        """
        self._check_usable()
        with translated:
            return self._live.statistics()

    def datalinks(self) -> list[LinkType]:
        """Return the link types that the device can deliver.

        Raises:
            anyio.ClosedResourceError: If the capture is closed.
        """
        self._check_usable()
        with translated:
            return self._live.datalinks()

    def set_datalink(self, linktype: LinkType | int) -> None:
        """Choose one of `datalinks()`; a filter has to be set again after that.

        Call it before the first packet is read.

        Raises:
            PcapError: If the device cannot deliver it.
            anyio.ClosedResourceError: If the capture is closed.
        """
        self._check_usable()
        with translated:
            self._live.set_datalink(LinkType(linktype))

    def fileno(self) -> int:
        """Return the file descriptor that is waited on, or -1 where the device has none.

        Raises:
            anyio.ClosedResourceError: If the capture is closed.
        """
        self._check_usable()
        with translated:
            return self._live.fileno()

    # -- sending ---------------------------------------------------------------------------------

    async def send(self, item: Frame) -> None:
        """Send a frame as it is, link-layer header included.

        It waits while the socket's buffer or the device's queue is full, and otherwise gives other
        tasks their turn every millisecond. One task sends at a time, beside the one that reads. The
        capture itself does not see what it sends (on the loopback device it does).

        Cancelled, the frame was not sent.

        Args:
            item: A packet, or any buffer.

        Raises:
            FrameSizeError: If it is empty, shorter than a link-layer header, or longer than the
                device takes.
            InterfaceDownError: If the device is down.
            InterfaceGoneError: If the device was removed.
            PcapError: If the device takes no frames ("any"), or not this one.
            anyio.ClosedResourceError: If the capture is closed, also while this waits.
            anyio.BusyResourceError: If another task is sending.
        """
        if not self._frames.send(item):
            await self._sending.send(item)

    def send_nowait(self, item: Frame) -> None:
        """Send a frame if there is room for it now.

        Raises:
            anyio.WouldBlock: If there is none.
            FrameSizeError, InterfaceDownError, InterfaceGoneError, PcapError,
                anyio.ClosedResourceError, anyio.BusyResourceError: As `send`.
        """
        if not self._frames.send(item):
            self._sending.send_nowait(item)

    async def send_batch(self, frames: PacketBatch | Iterable[Frame]) -> int:
        """Send frames in order, hundreds with each system call; a checkpoint.

        Cancelled, the first of them were sent and the others not; a `SendQueue` tells how many.

        Args:
            frames: A batch, or packets and buffers.

        Returns:
            The number of the frames, which is that of all.

        Raises:
            SendError: If one could not be sent; it says which, and its cause is what `send` raises.
            PcapError: If the device takes no frames ("any").
            anyio.ClosedResourceError: If the capture is closed, also while this waits.
            anyio.BusyResourceError: If another task is sending.
        """
        sent = self._frames.send_many(frames, 0)
        if isinstance(frames, list) and 0 < sent == len(frames):
            return sent
        return await self._sending.send_batch(frames, sent)

    def _look_again(self) -> None:
        # Who waits for packets has to notice that the device is down or gone.
        self._waiting.cancel()

    def _wake_readers(self) -> None:
        self._sending.close()
        super()._wake_readers()

    # -- waiting ---------------------------------------------------------------------------------

    async def _wait(self) -> None:
        if pause := self._live.pause():
            await anyio.sleep(pause)
            return
        # A readable descriptor may have no packet: whoever waits reads, and waits again.
        fd, timeout = self._live.readiness()
        if timeout is not None:
            timeout = min(max(timeout, SHORTEST_POLL), LONGEST_POLL)
        with anyio.move_on_after(timeout) as self._waiting:
            await (anyio.sleep_forever() if fd < 0 else anyio.wait_readable(fd))


async def open_live(
    device: str,
    *,
    filter: str | Filter | None = None,
    snaplen: int = 262144,
    promisc: bool = True,
    buffer_timeout: float = 0.001,
    immediate: bool = False,
    buffer_size: int | None = None,
    direction: Direction | str = Direction.INOUT,
    rfmon: bool = False,
    timestamp_type: TimestampType | str | None = None,
    fanout: tuple[int, int] | None = None,
) -> LiveCapture:
    """Start to capture from a device.

    When this returns, capturing has begun: a packet sent after it is seen, and the filter is in
    force before the first packet.

    Args:
        device: Its name; on Linux "any" means all, each packet then says which it came from.
        filter: An expression (pcap-filter(7)) or a compiled filter.
        snaplen: The most bytes of a packet to capture.
        promisc: Also capture what is not meant for this host.
        buffer_timeout: Seconds, above 0, that the kernel may gather packets before it hands them
            over; in whole milliseconds, at least one. More saves processor time, less brings them
            sooner.
        immediate: Hand over each packet at once. It costs a system call for each, and space.
        buffer_size: Bytes of the kernel's buffer, which bridges the time in which the program
            does not read; 16 MiB where None.
        direction: "in", "out" or "inout".
        rfmon: Put a Wi-Fi device into monitor mode.
        timestamp_type: Where time stamps are taken (pcap-tstamp(7)).
        fanout: A group and a `FanoutMode` (flags may be or'ed to it): the captures of one group
            share the packets (Linux).

    Raises:
        NoSuchDeviceError: If there is no such device.
        PermissionDeniedError: If the process may not capture.
        InterfaceDownError: If the device is down.
        FilterError: If the filter does not compile.
        PcapError: If the device cannot do what is asked.
        ValueError: If an option is out of range.

    Warns:
        PcapWarning: If libpcap could not do all of it, but captures.
    """
    options = LiveOptions(
        snaplen=snaplen,
        promisc=promisc,
        buffer_timeout=buffer_timeout,
        immediate=immediate,
        buffer_size=buffer_size,
        direction=Direction(direction),
        rfmon=rfmon,
        timestamp_type=None if timestamp_type is None else TimestampType(timestamp_type),
        fanout=fanout,
    )
    source = await open_in_thread(lambda: LiveSource(device, options, filter))
    try:
        for message in source.warnings:
            warn_user(message)
    except BaseException:
        source.close()
        raise
    return LiveCapture(source)
