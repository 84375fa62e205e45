"""The options of pcapng blocks: what they carry beside their fields."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

OPTION_COMMENT = 1

_MOST_BYTES = 2**16 - 1
_END = 0


class Option(NamedTuple):
    """One option of a pcapng block.

    Attributes:
        code: What it is: 1 is a comment, and the others differ from block to block.
        value: Its bytes; numbers in those of a packet are in this machine's byte order.
    """

    code: int
    value: bytes


def parse_options(raw: bytes, order: str = "=") -> Iterator[Option]:
    """Yield options up to the end, or to the first that is not sound.

    Args:
        raw: As they are in a block.
        order: The byte order, as `struct` writes it.
    """
    head = struct.Struct(f"{order}HH")
    at = 0
    while at + head.size <= len(raw):
        code, length = head.unpack_from(raw, at)
        start = at + head.size
        if code == _END or start + length > len(raw):
            return
        yield Option(code, raw[start : start + length])
        at = start + length + -length % 4


def format_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Return options as they are in a block, in this machine's byte order, without an end.

    Raises:
        ValueError: If a code or a length does not fit in 16 bits, or the code is that of the end.
    """
    parts = []
    for code, value in options:
        if not _END < code < 2**16:
            raise ValueError(f"the code of an option is within 1…65535, not {code}")
        if len(value) > _MOST_BYTES:
            raise ValueError(
                f"an option of {len(value)} bytes is too long: {_MOST_BYTES} is the most"
            )
        parts += [struct.pack("=HH", code, len(value)), value, bytes(-len(value) % 4)]
    return b"".join(parts)


def comments_of(options: Iterable[Option]) -> tuple[str, ...]:
    """Return the comments among options."""
    return tuple(
        option.value.decode(errors="replace") for option in options if option.code == OPTION_COMMENT
    )
