"""Making a live pcap_t: options in, an active and non-blocking handle out."""

import os
import socket
from typing import Any

from aiopcap._core.constants import Direction
from aiopcap._core.devices import device_name
from aiopcap._core.errors import PcapError, error_from_status, status_text, text
from aiopcap._core.liveoptions import LiveOptions
from aiopcap._native import ffi, lib

_DIRECTIONS = {Direction.INOUT: 0, Direction.IN: 1, Direction.OUT: 2}


def check(handle: Any, device: str, status: int) -> None:
    """Raise what a negative status of libpcap stands for."""
    if status < 0:
        raise error_from_status(status, text(lib.pcap_geterr(handle)), device)


def open_handle(device: str, options: LiveOptions) -> tuple[Any, list[str]]:
    """Return a handle that captures, and what libpcap warned of.

    Raises:
        PcapError: If the device cannot do what is asked.
    """
    errors = ffi.new("char[]", lib.PCAP_ERRBUF_SIZE)
    handle = lib.pcap_create(device_name(device), errors)
    if not handle:
        raise PcapError(f"{device}: {text(errors)}")
    warnings: list[str] = []
    try:
        _configure(handle, device, options, warnings)
        _activate(handle, device, options, warnings)
    except BaseException:
        lib.pcap_close(handle)
        raise
    return handle, warnings


def _configure(handle: Any, device: str, options: LiveOptions, warnings: list[str]) -> None:
    check(handle, device, lib.pcap_set_snaplen(handle, options.snaplen))
    # The pseudo-device has no mode of its own, and libpcap leaves a stray error text if asked.
    check(handle, device, lib.pcap_set_promisc(handle, options.promisc and device != "any"))
    milliseconds = max(1, round(options.buffer_timeout * 1000))
    check(handle, device, lib.pcap_set_timeout(handle, milliseconds))
    check(handle, device, lib.pcap_set_immediate_mode(handle, options.immediate))
    check(handle, device, lib.pcap_set_buffer_size(handle, options.buffer_bytes))
    if options.rfmon:
        check(handle, device, lib.pcap_set_rfmon(handle, 1))
    # A device that has no nanoseconds refuses, and stays at microseconds.
    lib.pcap_set_tstamp_precision(handle, lib.PCAP_TSTAMP_PRECISION_NANO)
    if options.timestamp_type is not None:
        number = lib.pcap_tstamp_type_name_to_val(options.timestamp_type.encode())
        _check_or_warn(handle, device, lib.pcap_set_tstamp_type(handle, number), warnings)


def _activate(handle: Any, device: str, options: LiveOptions, warnings: list[str]) -> None:
    _check_or_warn(handle, device, lib.pcap_activate(handle), warnings)
    errors = ffi.new("char[]", lib.PCAP_ERRBUF_SIZE)
    if lib.pcap_setnonblock(handle, 1, errors) < 0:
        raise PcapError(f"{device}: {text(errors)}")
    if options.direction is not Direction.INOUT:
        check(handle, device, lib.pcap_setdirection(handle, _DIRECTIONS[options.direction]))
    if (fd := lib.pcap_get_selectable_fd(handle)) >= 0:
        # libpcap leaves it inheritable: every child process would hold the raw socket open.
        os.set_inheritable(fd, False)
    if options.fanout is not None:
        group, mode = options.fanout
        error = lib.aiopcap_set_fanout(lib.pcap_fileno(handle), group | mode << 16)
        if error:
            raise PcapError(
                f"{device}: cannot join fanout group {group} with mode {mode:#x}: "
                f"{os.strerror(error)}"
            )


def _check_or_warn(handle: Any, device: str, status: int, warnings: list[str]) -> None:
    check(handle, device, status)
    if status > 0:
        detail = text(lib.pcap_geterr(handle))
        words = dict.fromkeys(filter(None, (device, status_text(status), detail)))
        warnings.append(": ".join(words))


def interface_name(number: int) -> str:
    """Return the name of a device by its number."""
    try:
        return socket.if_indextoname(number)
    except OSError:
        return f"if{number}"  # gone since; its packets still say apart what came from where
