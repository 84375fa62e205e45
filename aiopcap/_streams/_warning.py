"""Warnings that point at the user's line, through however many of our functions."""

import sys
import warnings

from aiopcap._core.errors import PcapWarning


def warn_user(message: str) -> None:
    """Issue a `PcapWarning` for the nearest caller outside this package's streams."""
    # Python 3.12 has skip_file_prefixes for this.
    package = __name__.rpartition(".")[0] + "."
    frame, level = sys._getframe(1).f_back, 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, PcapWarning, stacklevel=level)
