"""What a conversion is, and opening the savefile that it writes."""

from dataclasses import dataclass, replace
from typing import Any

from aiopcap import (
    Dumper,
    Interface,
    OfflineCapture,
    Rotation,
    TruncatedSavefileError,
    dump_open,
    open_offline,
)
from aiopcap.cli._files import shown
from aiopcap.cli._running import Failure
from aiopcap.cli._splitting import one_linktype

# In the fraction of a second.
_NANO_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What the command line asked for.

    Attributes:
        rotation: Where a file ends, but for the packets' time.
        split_seconds: Where that ends one.
        options: More that `dump_open` takes.
    """

    sources: tuple[str, ...]
    target: str
    filter: str | None
    limit: int | None
    format: str
    precision: str | None
    append: bool
    rotation: Rotation | None
    split_seconds: float | None
    options: dict[str, Any]


async def open_target(job: Conversion, captures: list[OfflineCapture]) -> Dumper:
    """Open the target for what the captures have; nothing is touched where that cannot be."""
    linktypes = {capture.linktype for capture in captures}
    if job.format == "pcap" and len(linktypes) > 1:
        raise one_linktype(shown(job.target), linktypes)
    options: dict[str, Any] = {**job.options, "format": job.format, "rotate": job.rotation}
    options["precision"] = job.precision or _precision(captures)
    if job.format == "pcapng":
        sections = [section for capture in captures for section in capture.sections]
        options["comments"] = [comment for section in sections for comment in section.comments]
    try:
        if len(captures) == 1 and not job.append:
            return await captures[0].dump_open(job.target, **options)
        options["snaplen"] = max(capture.snaplen for capture in captures)
        if job.append:
            options |= {"append": True, **await _header(job)}
        return await dump_open(
            job.target,
            linktype=captures[0].linktype if len(linktypes) == 1 else None,
            interfaces=known_interfaces(job, captures),
            **options,
        )
    except ValueError as error:
        raise Failure(f"{shown(job.target)}: {error}") from error


def _precision(captures: list[OfflineCapture]) -> str:
    """Return a precision that loses nothing."""
    # Each interface of a pcapng file has its own, also those that come later.
    exact = any(
        capture.format == "pcapng" or capture.timestamp_precision == _NANO_DIGITS
        for capture in captures
    )
    return "nano" if exact else "micro"


def known_interfaces(job: Conversion, captures: list[OfflineCapture]) -> list[Interface]:
    """Return the interfaces that are known now, under the names that packets have."""
    if len(captures) == 1:
        return list(captures[0].interfaces)
    return [
        replace(interface, name=f"{source}:{interface.name}")
        for source, capture in zip(job.sources, captures, strict=True)
        for interface in capture.interfaces
    ]


async def _header(job: Conversion) -> dict[str, Any]:
    """Return what packets that are appended have to fit: the header of what is there."""
    try:
        async with await open_offline(job.target) as there:
            digits = there.timestamp_precision
            precision = job.precision or ("nano" if digits == _NANO_DIGITS else "micro")
            return {"snaplen": there.snaplen, "precision": precision}
    except (FileNotFoundError, TruncatedSavefileError):
        return {}  # nothing is there, or less than a header
