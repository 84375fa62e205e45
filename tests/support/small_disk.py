"""A disk that is full soon: a tmpfs of a few pages, which nobody else sees."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["small_disk"]

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


@contextmanager
def small_disk(mount_point: Path, size: int) -> Iterator[Path]:
    """Give a folder on a disk of so many bytes, or skip the running test.

    It is mounted in a mount namespace that only a short-lived thread was ever in; the descriptor
    of the folder keeps it alive, and a path through that descriptor leads there from outside.

    Args:
        mount_point: Any folder.
        size: In bytes; the system rounds up to pages.
    """

    def mount() -> int:
        _call("unshare", _CLONE_NEWNS)
        _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
        options = f"size={size}".encode()
        _call("mount", b"tmpfs", os.fsencode(mount_point), b"tmpfs", ctypes.c_ulong(0), options)
        return os.open(mount_point, os.O_PATH | os.O_DIRECTORY)

    try:
        with ThreadPoolExecutor(1) as pool:
            folder = pool.submit(mount).result()
    except OSError as error:
        pytest.skip(f"no small disk without the right to mount: {error}")
    try:
        yield Path(f"/proc/self/fd/{folder}")
    finally:
        os.close(folder)
