"""Going on with a savefile that is there: is it of the same format, and where does it end?"""

import os
import stat
import struct
import sys
from typing import NamedTuple

from aiopcap._core.bytetarget import DescriptorTarget, Writable, open_path
from aiopcap._core.errors import SavefileError, TruncatedSavefileError, printable
from aiopcap._core.linktype import linktype_from_file
from aiopcap._core.pcapformat import RECORD_HEADER_BYTES
from aiopcap._native import ffi, lib

_FILE_HEADER = struct.Struct("=IHHiIII")
_CHUNK_BYTES = 1024 * 1024

# PATH_MAX of Linux: who knows the path knows the file.
LONGEST_PATH = 4096

_PRECISIONS = {0xA1B23C4D: "nano", 0xA1B2C3D4: "micro"}
_SWAPPED = {int.from_bytes(struct.pack(">I", magic), "little") for magic in _PRECISIONS}
_PCAPNG = 0x0A0D0D0A


class Continued(NamedTuple):
    """A file to append to.

    Attributes:
        target: The file, opened, standing at its end.
        length: Where its last whole record ends; 0 if it is empty.
        surplus: How many bytes of a record that was cut off are behind that.
    """

    target: DescriptorTarget
    length: int
    surplus: int


def open_to_append(path: Writable, header: bytes) -> Continued:
    """Open a file to append to, or to begin where there is none; nothing in it is changed.

    Args:
        path: Of a regular file.
        header: What the file has to begin with.

    Raises:
        OSError: If it cannot be opened for reading and writing.
        SavefileError: If its format is another one, or its records cannot be told apart.
        TruncatedSavefileError: If it ends inside its header.
        ValueError: If it is no file with a path.
    """
    if not isinstance(path, str | os.PathLike) or path == "-":
        raise ValueError("only a file that has a path can be appended to")
    # A pipe or a device must not keep anybody waiting before it is refused.
    target = open_path(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return _continued(target, header)
    except BaseException:
        target.close()
        raise


def _continued(target: DescriptorTarget, header: bytes) -> Continued:
    name = printable(str(target.name), LONGEST_PATH)
    fd = target.fileno()
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{name} is no regular file, cannot append to it")
    length = 0
    if status.st_size:
        _check_header(name, os.pread(fd, _FILE_HEADER.size, 0), header)
        length = _end_of_records(name, fd, status.st_size, header)
    os.lseek(fd, status.st_size, os.SEEK_SET)
    return Continued(target, length, status.st_size - length)


def _check_header(name: str, found: bytes, wanted: bytes) -> None:
    """Compare what libpcap's pcap_dump_open_append compares."""
    magic = int.from_bytes(found[:4], sys.byteorder)
    if magic == _PCAPNG:
        raise SavefileError(f"{name} is a pcapng file, cannot append to it")
    if magic in _SWAPPED:
        raise SavefileError(f"{name} has a different byte order, cannot append to it")
    if magic not in _PRECISIONS:
        raise SavefileError(f"{name} is not a pcap file, cannot append to it")
    if len(found) < len(wanted):
        raise TruncatedSavefileError(f"{name} ends inside its header, cannot append to it")
    _, *version, _, _, snaplen, network = _FILE_HEADER.unpack(found)
    wanted_magic, *wanted_version, _, _, wanted_snaplen, wanted_network = _FILE_HEADER.unpack(
        wanted
    )
    for what, has, wants in (
        ("version", version, wanted_version),
        ("time stamp precision", _PRECISIONS[magic], _PRECISIONS[wanted_magic]),
        ("link type", _network(network), _network(wanted_network)),
        ("snaplen", snaplen, wanted_snaplen),
    ):
        if has != wants:
            raise SavefileError(
                f"{name} has a different {what}, {has} and not {wants}, cannot append to it"
            )


def _network(field: int) -> str:
    """Say what the last field of a header says."""
    name = linktype_from_file(field & 0xFFFF).name
    return f"{name} with the upper bits 0x{field >> 16:04x}" if field >> 16 else name


def _end_of_records(name: str, fd: int, size: int, header: bytes) -> int:
    """Return where the last whole record ends, looking at the headers of all."""
    *_, snaplen, network = _FILE_HEADER.unpack(header)
    most = lib.aiopcap_savefile_limit(network & 0xFFFF, snaplen)
    chunk = bytearray(_CHUNK_BYTES)
    native = ffi.from_buffer("uint8_t[]", chunk)
    at = _FILE_HEADER.size
    while at + RECORD_HEADER_BYTES <= size:
        got = os.preadv(fd, [chunk], at)
        whole = lib.aiopcap_whole_records(native, got, most)
        at += whole
        if got - whole < RECORD_HEADER_BYTES:
            if whole == 0:
                break  # the file became shorter meanwhile
            continue
        captured = int.from_bytes(chunk[whole + 8 : whole + 12], sys.byteorder)
        if captured > most:
            raise SavefileError(
                f"{name} is damaged: at byte {at} begins a record of {captured} bytes, where "
                f"{most} is the most; cannot append to it"
            )
        if at + RECORD_HEADER_BYTES + captured > size:
            break
        at += RECORD_HEADER_BYTES + captured
    return at
