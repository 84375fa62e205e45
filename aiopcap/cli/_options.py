"""Arguments and options that several commands share."""

import re

import click

# libpcap takes the buffer's size and the snapshot length as C ints.
MAX_INT = 2**31 - 1

# Between a packet in thirty years and more than any device sends.
LEAST_POSITIVE, MOST_POSITIVE = 1e-9, 1e12

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def byte_size(value: str) -> int:
    """Return the number of bytes that "8388608", "8192K" or "8M" means.

    Raises:
        click.BadParameter: If it means none, or one that libpcap cannot take.
    """
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", value, re.IGNORECASE | re.ASCII)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a number of bytes such as 65536, 512K or 8M.")
    size = int(match[1]) * _UNITS[match[2].upper()]
    if not 1 <= size <= MAX_INT:
        raise click.BadParameter(f"{value} is not within 1 byte and 2 GiB.")
    return size


def positive(value: str) -> float:
    """Return a number above 0, within what a schedule can be computed with.

    Raises:
        click.BadParameter: If it is none.
    """
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not LEAST_POSITIVE <= number <= MOST_POSITIVE:
        raise click.BadParameter(
            f"{value} is not a number from {LEAST_POSITIVE:g} to {MOST_POSITIVE:g}."
        )
    return number


filter_argument = click.argument("filter", nargs=-1, metavar="[FILTER]...")

count_option = click.option(
    "-c", "--count", type=click.IntRange(min=1), metavar="N", help="Stop after N packets."
)

time_option = click.option(
    "-t",
    "--time",
    "clock",
    type=click.Choice(["local", "utc", "epoch"]),
    default="local",
    show_default=True,
    help="Time in lines: of day, date and time in UTC, or seconds since 1970.",
)

hex_option = click.option("-x", "--hex", is_flag=True, help="Also print each packet's bytes.")

backend_option = click.option(
    "--backend",
    type=click.Choice(["asyncio", "trio"]),
    default="asyncio",
    show_default=True,
    help="The event loop to run on.",
)


def joined(filter: tuple[str, ...]) -> str | None:
    """Return the expression that the words on the command line make; None for none."""
    return " ".join(filter) or None
