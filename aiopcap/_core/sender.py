"""The side of a live handle that sends."""

import errno
import fcntl
import struct
from typing import Any

from aiopcap._core.errors import InterfaceDownError, PcapError, error_from_sending, text
from aiopcap._core.linktype import COOKED, LinkType
from aiopcap._core.live import LiveSource
from aiopcap._core.packet import Packet
from aiopcap._core.resource import Resource
from aiopcap._native import FrameSocket, ffi, lib

# A frame as users give it: a packet, or anything that holds bytes in one piece.
Frame = Packet | bytes | bytearray | memoryview

# linux/sockios.h; Python has no name for it.
_SIOCGIFMTU = 0x8921
_IFREQ = struct.Struct("16si")

_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


class FrameSender:
    """Sends frames on a live handle, without waiting.

    On Linux it uses the handle's socket beside libpcap, so that it may run in another thread than
    reading; elsewhere libpcap, of which it then touches nothing but the error text.

    Args:
        source: Owns the handle.
    """

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self.device = source.device
        self.resource: Resource = source.resource
        with self.resource:
            self._handle = source.handle
            fd = source.fileno()
            self._socket: int = fd if lib.aiopcap_sends_by_socket(fd) else -1
        # The short way for plain frames, while the streams allow it.
        self.frames = FrameSocket(self._socket)

    @property
    def linktype(self) -> LinkType:
        """What the device's frames begin with."""
        return self._source.linktype

    def fileno(self) -> int:
        """Return the descriptor that is writable when a full buffer has room, or -1."""
        return self._source.fileno()

    def check(self) -> None:
        """Raise where nothing can be sent, whatever it is.

        Raises:
            PcapError: If it captures from several devices, or in a format that is no device's.
        """
        if self.device == "any":
            raise PcapError('any: packets cannot be sent on the "any" device: open one of them')
        if self.linktype in COOKED:
            raise PcapError(f"{self.device}: packets cannot be sent in cooked mode")

    def send(self, frame: Frame) -> int:
        """Send a frame; 0, or the errno of a buffer or queue that is full now.

        Raises:
            FrameSizeError: If it is empty, shorter than a link-layer header, or too long.
            InterfaceDownError: If the device is down.
            InterfaceGoneError: If it was removed.
            PcapError: If the system did not take it otherwise.
        """
        self.check()
        data = ffi.from_buffer(frame)
        with self.resource:
            number: int = lib.aiopcap_send_frame(self._handle, self._socket, data, len(data))
            if self.is_stale(number):
                number = lib.aiopcap_send_frame(self._handle, self._socket, data, len(data))
            if number == 0 or number in _FULL:
                return number
            raise self.error(number, len(data))

    def is_stale(self, number: int) -> bool:
        """Whether an errno is old news: that the device was down, while it is up again.

        The kernel keeps it in the socket for whoever asks next, and forgets it then.
        """
        if number != errno.ENETDOWN or self._socket < 0:
            return False
        return bool(lib.aiopcap_link_state(self._socket) > 0)

    def aim(self, run: Any) -> None:
        """Have a native transmission send here, inside a lease of the resource."""
        run.handle = self._handle
        run.fd = self._socket

    def error(self, number: int, size: int) -> PcapError:
        """Return why a frame was not sent.

        Args:
            number: An errno, or negative where only libpcap's text says it.
            size: The frame's length.
        """
        detail = ""
        if number < 0:
            number, detail = 0, text(lib.pcap_geterr(self._handle))
        if number == errno.EMSGSIZE:
            detail = self._limit()
        error = error_from_sending(number, self.device, size, detail)
        if isinstance(error, InterfaceDownError) or number in (errno.ENXIO, errno.ENODEV):
            # The kernel tells of it once, and told the sender: the reader has to look for itself.
            self._source.suspect_link()
        return error

    def _limit(self) -> str:
        request = _IFREQ.pack(self.device.encode()[:15], 0)
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFMTU, request)
        except OSError:
            return ""
        return f" for an MTU of {_IFREQ.unpack(answer)[1]}"
