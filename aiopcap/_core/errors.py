"""What can go wrong below Python, as exceptions, and the one place that makes them from codes.

Lifetimes are not here: a closed, a busy or an ended stream raises anyio's own exceptions.
"""

import copy
import errno
import os
import shlex
import sys
from typing import TypeVar

from aiopcap._native import ffi, lib

# An Ethernet header; the kernel takes no frame that is shorter than the device's.
_SHORTEST_HEADER = 14


class PcapError(Exception):
    """An error that libpcap or the kernel reported.

    The first argument is libpcap's own text.

    Attributes:
        code: libpcap's negative status (`PCAP_ERROR_…`), or None where it gave a text only.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code: int | None = code

    def __str__(self) -> str:
        return str(self.args[0])


class _SystemPcapError(PcapError, OSError):
    """A `PcapError` that is also the `OSError` of a fixed number."""

    _number: int
    errno: int | None

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message, code)
        self.errno = self._number


class NoSuchDeviceError(_SystemPcapError):
    """There is no capture device of that name (an `OSError`, ENODEV)."""

    _number = errno.ENODEV


class PermissionDeniedError(_SystemPcapError, PermissionError):
    """The process lacks the privilege to capture; the text says which, and how to grant it."""

    _number = errno.EPERM


class InterfaceDownError(_SystemPcapError):
    """The device exists but is down (an `OSError`, ENETDOWN)."""

    _number = errno.ENETDOWN


class InterfaceGoneError(_SystemPcapError):
    """The device was removed while it was captured from (an `OSError`, ENXIO).

    Everything that had arrived before is delivered first. The capture stays unusable, even when
    a device of the same name appears again: open a new one.
    """

    _number = errno.ENXIO


class FilterError(PcapError, ValueError):
    """A filter expression does not compile; the text is libpcap's (see pcap-filter(7))."""


class SavefileError(PcapError, ValueError):
    """A file is not a savefile, or contradicts itself."""


class TruncatedSavefileError(SavefileError, EOFError):
    """A savefile ends inside a header or a record; all complete records came before."""


class SavefileWriteError(PcapError, OSError):
    """A savefile could not be written: the disk is full, the pipe is closed.

    Attributes:
        errno: The system's error number, as in any `OSError`.
        filename: The file, where it has a name.
    """

    errno: int | None

    def __init__(
        self, message: str, number: int | None = None, filename: str | None = None
    ) -> None:
        super().__init__(message)
        self.errno = number
        self.filename = filename

    @classmethod
    def of(cls, cause: OSError, filename: str | None) -> "SavefileWriteError":
        """Make it of what the system reported."""
        where = f"{printable(filename)}: " if filename else ""
        number = cause.errno or errno.EIO
        error = cls(f"{where}{os.strerror(number)}", number, filename)
        error.__cause__ = cause
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.args[0], self.errno, self.filename))


class MissingExtraError(PcapError, ImportError):
    """A package of an optional part is not installed; the text says how to get it."""


class FrameSizeError(PcapError, ValueError):
    """A frame is empty, shorter than a link-layer header, or longer than the device takes.

    Attributes:
        size: Its length in bytes.
    """

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class SendError(PcapError):
    """One of several frames could not be sent; `__cause__` says why.

    Those before it are on the wire, in order; it and those behind it are not.

    Attributes:
        index: Which one it was, from 0.
        packets: How many were sent.
        nbytes: How many bytes these had.
    """

    def __init__(self, message: str, index: int = 0, packets: int = 0, nbytes: int = 0) -> None:
        super().__init__(message)
        self.index = index
        self.packets = packets
        self.nbytes = nbytes


class QueueFullError(PcapError, BufferError):
    """A send queue has no room for all that was to be added; nothing was."""


class PcapWarning(UserWarning):
    """libpcap did what was asked, but not all of it (its positive status codes)."""


def capabilities_advice() -> str:
    """Say what the process lacks, and the command that grants it to this interpreter."""
    interpreter = shlex.quote(os.path.realpath(sys.executable))
    return (
        "capturing needs the capability CAP_NET_RAW (and CAP_NET_ADMIN for monitor mode): run as "
        f"root, or grant it to this interpreter: sudo setcap cap_net_raw+ep {interpreter}"
    )


E = TypeVar("E", bound=BaseException)


def copy_of(error: E) -> E:
    """Return a kept error to be raised once more.

    The kept object itself would gather the frames of each raise, and with them hold the capture
    that keeps it, in a cycle.
    """
    try:
        fresh = copy.copy(error)
    except Exception:
        return error.with_traceback(None)  # an exception of a file object that cannot be copied
    fresh.__cause__ = error.__cause__
    return fresh


def printable(name: str, most: int = 80) -> str:
    """Return a name from outside as it can be shown: short, with nothing a terminal obeys."""
    shown = name if name.isprintable() else ascii(name)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def text(pointer: object) -> str:
    """Return a C string as str; "" for NULL."""
    raw: bytes = ffi.string(pointer) if pointer else b""
    return raw.decode(errors="replace")


def status_text(code: int) -> str:
    """Return libpcap's words for a status code."""
    return text(lib.pcap_statustostr(code))


def error_from_status(code: int, detail: str, device: str) -> PcapError:
    """Translate a negative status of libpcap, with the handle's error text, to an exception."""
    device = printable(device)
    message = ": ".join(dict.fromkeys(filter(None, (device, status_text(code), detail))))
    if code == lib.PCAP_ERROR:
        message = f"{device}: {detail}"
        # There is no code of its own for this, only the text.
        if "disappeared" in detail:
            return InterfaceGoneError(message, code)
    if code == lib.PCAP_ERROR_NO_SUCH_DEVICE:
        return NoSuchDeviceError(message, code)
    if code in (lib.PCAP_ERROR_PERM_DENIED, lib.PCAP_ERROR_PROMISC_PERM_DENIED):
        return PermissionDeniedError(f"{message}; {capabilities_advice()}", code)
    if code == lib.PCAP_ERROR_IFACE_NOT_UP:
        return InterfaceDownError(message, code)
    return PcapError(message, code)


def error_from_sending(number: int, device: str, size: int, detail: str = "") -> PcapError:
    """Translate why the kernel did not take a frame.

    Args:
        number: An errno, or 0 where there is only a text.
        device: Its name.
        size: The frame's length.
        detail: What else is known: the device's limit, or libpcap's text.
    """
    device = printable(device)
    if number == errno.EMSGSIZE:
        return FrameSizeError(f"{device}: a frame of {size} bytes is too long{detail}", size)
    if number == errno.EINVAL and size < _SHORTEST_HEADER:
        words = "an empty frame" if size == 0 else f"a frame of {size} bytes"
        return FrameSizeError(f"{device}: {words} is too short to send", size)
    if number == errno.ENETDOWN:
        return InterfaceDownError(f"{device}: the device is down")
    if number in (errno.ENXIO, errno.ENODEV):
        return InterfaceGoneError(f"{device}: the device was removed")
    reason = os.strerror(number) if number else detail
    return PcapError(f"{device}: a frame of {size} bytes was not sent: {reason}")
