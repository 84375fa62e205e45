"""Warnings that point at the user's line, through however many of our functions."""

import sys
import warnings
from types import FrameType

from aiopcap._core.errors import PcapWarning

_PACKAGE = __name__.rpartition(".")[0] + "."


def warn_user(message: str) -> None:
    """Issue a `PcapWarning` that names the nearest caller outside of this package."""
    # From Python 3.12 on this is skip_file_prefixes.
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, PcapWarning, stacklevel=level)
