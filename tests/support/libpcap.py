"""What libpcap itself says, through ctypes: nothing of aiopcap is in between."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from os import PathLike, fsencode
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .pcapfiles import Record

__all__ = ["LibpcapReading", "libpcap_read", "libpcap_refusal"]

_ERROR_SIZE = 256
_NANOSECONDS = 1
_END = -2
_NO_NETMASK = 0xFFFFFFFF


class _Header(ctypes.Structure):
    _fields_ = (
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("captured", ctypes.c_uint32),
        ("wire", ctypes.c_uint32),
    )


class LibpcapReading(NamedTuple):
    """What libpcap made of a file.

    Attributes:
        packets: What it delivered. Seconds and their fractions are taken as 32 bits without sign,
            which is what the format says; libpcap before 1.10.5 makes large ones negative.
        error: Its words, None where it read to the end.
        linktype: The DLT_ value, None where it did not open the file.
        snaplen: In bytes, None where it did not open the file.
    """

    packets: list[Record]
    error: str | None
    linktype: int | None = None
    snaplen: int | None = None


@functools.cache
def _library() -> Any:
    name = ctypes.util.find_library("pcap") or "libpcap.so.0.8"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        pytest.skip("libpcap's shared library is not installed")
    library.pcap_open_offline_with_tstamp_precision.restype = ctypes.c_void_p
    library.pcap_open_offline_with_tstamp_precision.argtypes = (
        ctypes.c_char_p,
        ctypes.c_uint,
        ctypes.c_char_p,
    )
    library.pcap_next_ex.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
    library.pcap_compile.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
    )
    library.pcap_freecode.argtypes = (ctypes.c_void_p,)
    for function in ("pcap_geterr", "pcap_close", "pcap_datalink", "pcap_snapshot"):
        getattr(library, function).argtypes = (ctypes.c_void_p,)
    return library


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def libpcap_refusal(expression: str, linktype: int) -> str | None:
    """Say in libpcap's words why an expression does not compile; None where it does."""
    library = _library()
    handle = library.pcap_open_dead(linktype, 262144)
    program = _Program()
    try:
        reference = ctypes.byref(program)
        if library.pcap_compile(handle, reference, expression.encode(), 1, _NO_NETMASK) < 0:
            words: str = library.pcap_geterr(handle).decode(errors="replace")
            return words
        library.pcap_freecode(reference)
        return None
    finally:
        library.pcap_close(handle)


def libpcap_read(savefile: str | PathLike[str]) -> LibpcapReading:
    """Read a savefile with libpcap, in nanoseconds."""
    library = _library()
    error = ctypes.create_string_buffer(_ERROR_SIZE)
    handle = library.pcap_open_offline_with_tstamp_precision(
        fsencode(savefile), _NANOSECONDS, error
    )
    if not handle:
        return LibpcapReading([], error.value.decode(errors="replace"))
    linktype, snaplen = library.pcap_datalink(handle), library.pcap_snapshot(handle)
    with Path(savefile).open("rb") as file:
        unit_ns = 1 if file.read(4) in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    packets: list[Record] = []
    header = ctypes.POINTER(_Header)()
    data = ctypes.c_void_p()
    try:
        while (
            status := library.pcap_next_ex(handle, ctypes.byref(header), ctypes.byref(data))
        ) == 1:
            row = header.contents
            fraction_ns = row.fraction
            if fraction_ns < 0:
                fraction_ns = (fraction_ns // unit_ns & 0xFFFF_FFFF) * unit_ns
            timestamp_ns = (row.seconds & 0xFFFF_FFFF) * 1_000_000_000 + fraction_ns
            captured = ctypes.string_at(data.value or 0, row.captured) if row.captured else b""
            packets.append(Record(timestamp_ns, captured, row.wire))
        words = None
        if status != _END:
            words = library.pcap_geterr(handle).decode(errors="replace")
        return LibpcapReading(packets, words, linktype, snaplen)
    finally:
        library.pcap_close(handle)
