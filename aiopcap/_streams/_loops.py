"""Which event loop this is, in a form that can be asked for each batch and each frame."""

import sys
import threading
from collections.abc import Callable

from anyio.lowlevel import current_token


def _asker(token: object) -> Callable[[], object]:
    """Return the loop's own way to ask for it; anyio's looks for the kind of loop each time."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    asker = _native_token
    if asyncio is not None and isinstance(token, asyncio.AbstractEventLoop):
        asker = asyncio.get_running_loop
    elif trio is not None and isinstance(token, trio.lowlevel.TrioToken):
        asker = trio.lowlevel.current_trio_token
    return asker


def _native_token() -> object:
    return current_token().native_token


class HomeLoop:
    """The event loop, and its thread, that something belongs to: the one that runs now."""

    def __init__(self) -> None:
        self._token = _native_token()
        self._ask = _asker(self._token)
        self._thread = threading.get_ident()

    @property
    def is_other(self) -> bool:
        """Whether the code that asks runs in another loop, or in none."""
        if self._thread != threading.get_ident():
            return True
        try:
            return self._ask() is not self._token
        except RuntimeError:
            return True
