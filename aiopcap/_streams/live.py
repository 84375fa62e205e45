"""Capturing from a device."""

from collections.abc import Iterable
from typing import final

import anyio

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytetarget import Writable
from aiopcap._core.constants import Direction, TimestampType
from aiopcap._core.filter import Filter
from aiopcap._core.linktype import LinkType
from aiopcap._core.live import LiveSource
from aiopcap._core.livedump import DumpLimits
from aiopcap._core.liveoptions import CaptureStatistics, LiveOptions
from aiopcap._core.rotation import Rotation
from aiopcap._core.savefileopening import choose_format, open_writer
from aiopcap._core.sender import Frame, FrameSender
from aiopcap._streams._threads import open_in_thread, run_surely
from aiopcap._streams._warning import warn_user
from aiopcap._streams.capture import Capture
from aiopcap._streams.livedump import LiveDump, start_dump
from aiopcap._streams.packetstream import translated
from aiopcap._streams.sending import Sending


@final
class LiveCapture(Capture):
    """Packets from a device; open one with `open_live`."""

    _endless = True

    def __init__(self, source: LiveSource) -> None:
        super().__init__(source, source.device, source.filter)
        self._live = source
        self._waiting = anyio.CancelScope()
        self._dump: LiveDump | None = None
        sender = FrameSender(source)
        self._frames = sender.frames
        self._sending = Sending(sender, self._check_usable, self._look_again)

    async def set_filter(self, filter: str | Filter | None) -> None:
        await super().set_filter(filter)
        if self._live.has_early:
            self._look_again()

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
            anyio.BusyResourceError: If a dump goes on in the background.
        """
        self._check_usable()
        self._check_no_dump()
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

    def _wake_readers(self) -> None:
        self._sending.close()
        if self._dump is not None:
            self._dump._close()
        super()._wake_readers()

    # -- dumping ---------------------------------------------------------------------------------

    async def live_dump(
        self,
        target: Writable,
        *,
        max_bytes: int = 0,
        max_packets: int = 0,
        precision: str = "nano",
        format: str | None = None,
        compression: str | None = "auto",
        rotate: Rotation | None = None,
    ) -> LiveDump:
        """Begin to write all packets to a savefile, in the background (WinPcap's live dump).

        A thread writes them, from the kernel's buffer to the file, with no Python object for a
        packet and without the event loop. Packets that were read before and not delivered yet go
        first. A slow disk fills the kernel's buffer, and only when that is full, packets are
        dropped and counted.

        While the dump goes on it is the capture's reader. All else may be used beside it: frames
        are sent, and a filter that is set holds for each packet that is not in the file or on its
        way there. When it has ended, the capture can be read on, from the first packet that is
        not in the file.

        The capture keeps the dump alive; its `aclose` ends it and completes the file. What went
        wrong is raised by the dump's own `wait` and `stop`.

        Cancelled while the target is opened, the dump does not begin.

        Args:
            target: As for `aiopcap.dump_open`.
            max_bytes: End before the file is longer than so many bytes, its header (of 24, in pcap)
                included: the first packet that has no room ends the dump. 0 is no limit.
            max_packets: End with so many packets. 0 is no limit.
            precision: "nano" for nanosecond time stamps, "micro" for readers that know only those.
            format: As for `aiopcap.dump_open`.
            compression: As for `aiopcap.dump_open`; limits count what is not compressed yet.
            rotate: As for `aiopcap.dump_open`; with limits of its own instead of max_bytes.

        Raises:
            OSError: If the path cannot be opened for writing.
            ValueError: If a limit is negative, or max_bytes has no room for the header.
            anyio.BusyResourceError: If a task reads, or another dump goes on.
            anyio.ClosedResourceError: If the capture is closed, also while the target is opened.
        """
        if rotate is not None and max_bytes:
            raise ValueError("max_bytes is for one file: a rotation has its own limits")
        source = self._live
        chosen = choose_format(
            format,
            target,
            linktype=source.linktype,
            snaplen=source.snaplen,
            precision=precision,
            interfaces=source.interfaces,
        )
        limits = DumpLimits(max_bytes, max_packets, len(chosen.header()))
        self._check_usable()
        with self._reading:
            self._check_no_dump()
            writer = await open_in_thread(
                lambda: open_writer(target, chosen, rotate=rotate, compression=compression)
            )
            try:
                self._check_open()
                if self._hand.left:
                    self._live.put_back(self._hand.deliver(None))
                self._hand.drop()
                self._dump = start_dump(self._live, writer, limits, target)
            except BaseException:
                writer.close()
                raise
            return self._dump

    def _check_no_dump(self) -> None:
        if self._dump is not None:
            if not self._dump.ended:
                raise anyio.BusyResourceError("reading from")
            self._dump = None

    def _read_nowait(self) -> PacketBatch | None:
        self._check_no_dump()
        return super()._read_nowait()

    async def _release(self) -> None:
        if self._dump is not None:
            await run_surely(self._dump._join)
        await super()._release()

    def __del__(self) -> None:
        dump: LiveDump | None = getattr(self, "_dump", None)
        if dump is not None:
            dump._close()
        super().__del__()

    # -- waiting ---------------------------------------------------------------------------------

    def _look_again(self) -> None:
        # Who waits for packets has to notice that the device is down or gone, or that some were
        # read already.
        self._waiting.cancel()
        if self._dump is not None:
            self._dump._wake()

    async def _wait(self) -> None:
        if pause := self._live.pause():
            await anyio.sleep(pause)
            return
        # A readable descriptor may have no packet: whoever waits reads, and waits again.
        fd, timeout = self._live.readiness()
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
