"""Floor 0, native: all the C, compiled, and the one place where Python meets it.

`ffi` and `lib` are cffi's view of libpcap and of aiopcap's own C; `Packet` and `Rows` are the
C types behind packets.
"""

from importlib.metadata import version as _version

from aiopcap._native._libpcap import ffi, lib
from aiopcap._native._packets import Cursor, FrameSocket, Packet, Rows, Stream
from aiopcap._native._packets import version as _packets_version

__all__ = ["Cursor", "FrameSocket", "Packet", "Rows", "Stream", "ffi", "lib"]


def check_version(compiled: str, package: str) -> None:
    """Refuse a shared object that an older or newer source tree left behind.

    Raises:
        ImportError: If the versions differ.
    """
    if compiled != package:
        raise ImportError(
            f"aiopcap {package} found its compiled modules at version {compiled}; "
            "build it again: pip install --force-reinstall --no-deps aiopcap, or pip install -e ."
        )


for _compiled in (ffi.string(lib.aiopcap_version).decode(), _packets_version):
    check_version(_compiled, _version("aiopcap"))
