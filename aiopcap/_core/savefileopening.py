"""Opening a savefile to write: in which format, and where to."""

import operator
import os
import time
from collections.abc import Callable

from aiopcap._core.appending import open_to_append
from aiopcap._core.bytetarget import ByteTarget, Writable, open_target
from aiopcap._core.compression import compression_for
from aiopcap._core.interfaces import Interface
from aiopcap._core.linktype import LinkType
from aiopcap._core.pcapformat import PcapFormat
from aiopcap._core.pcapngformat import PcapngFormat
from aiopcap._core.recordbuffer import BUFFER_BYTES
from aiopcap._core.rotatingtarget import RotatingTarget
from aiopcap._core.rotation import FileMeter, Rotation, split_suffix
from aiopcap._core.savefileformat import SavefileFormat
from aiopcap._core.writer import SavefileWriter


def choose_format(
    name: str | None,
    target: Writable,
    *,
    linktype: LinkType | None,
    snaplen: int,
    precision: str,
    interfaces: tuple[Interface, ...] = (),
    comments: tuple[str, ...] = (),
    checksum_bits: int = 0,
) -> SavefileFormat:
    """Return what is to be written, checked before a file is opened.

    Args:
        name: "pcap" or "pcapng"; by the target's name where None.
        target: What is written to.
        linktype: Of packets that do not say, and in pcap of all.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
        interfaces: What is known of interfaces; pcapng's only.
        comments: On a section; pcapng's only.
        checksum_bits: The upper bits of a link type field; pcap's only.

    Raises:
        ValueError: If something cannot be in such a file.
    """
    if name not in (None, "pcap", "pcapng"):
        raise ValueError(f"format is 'pcap' or 'pcapng', not {name!r}")
    if (name or _format_of(target)) == "pcapng":
        return PcapngFormat(linktype, snaplen, precision, interfaces, comments)
    if linktype is None:
        raise ValueError("a pcap file needs a linktype; in a pcapng file each packet has its own")
    if comments:
        raise ValueError("a pcap file has no comments; a pcapng file can have them")
    return PcapFormat(linktype, snaplen, precision, checksum_bits)


def _format_of(target: Writable) -> str:
    if not isinstance(target, str | os.PathLike):
        return "pcap"
    _, suffix = split_suffix(os.fspath(target))
    return "pcapng" if suffix.lower().startswith(".pcapng") else "pcap"


def open_writer(
    target: Writable,
    format: SavefileFormat,
    *,
    append: bool = False,
    buffer_bytes: int = BUFFER_BYTES,
    rotate: Rotation | None = None,
    compression: str | None = "auto",
    clock: Callable[[], float] = time.monotonic,
) -> SavefileWriter:
    """Open what `dump_open` takes.

    Args:
        target: What is written to; for a rotation, a pattern of paths.
        format: For the header.
        append: Whether to go on with a file that is there.
        buffer_bytes: The most memory for packets on their way.
        rotate: When to begin another file.
        compression: Its name, None, or "auto" for that of the target's suffix.
        clock: Gives seconds, for the rotation; asked where packets are appended.

    Raises:
        OSError: If it cannot be opened.
        SavefileError: If a file is not one to append to.
        ValueError: If the arguments do not go together.
        MissingExtraError: If the compression needs a package that is not there.
    """
    compress = compression_for(target, compression)
    if operator.index(buffer_bytes) < 1:
        raise ValueError(f"buffer_bytes is at least 1, not {buffer_bytes}")
    if append and rotate is not None:
        raise ValueError("a rotation begins new files, and so appends to none")
    if append and compress is not None:
        raise ValueError("what is compressed cannot be appended to")
    files: ByteTarget | RotatingTarget
    length, surplus, meter = 0, 0, None
    if append:
        files, length, surplus = open_to_append(target, format.header())
    elif rotate is not None:
        if not isinstance(target, str | os.PathLike) or target == "-":
            raise ValueError("a rotation writes to files that have a path")
        files = RotatingTarget(os.fspath(target), rotate.keep, len(format.header()), compress)
        meter = FileMeter(rotate, clock)
    else:
        plain = open_target(target)
        files = plain if compress is None else compress(plain)
    try:
        return SavefileWriter(
            files, format, buffer_bytes=buffer_bytes, length=length, surplus=surplus, meter=meter
        )
    except BaseException:
        files.close()
        raise
