"""What `aiopcap info` tells of a savefile: for programs, and from that for people."""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from aiopcap import Interface, LinkType, OfflineCapture
from aiopcap.cli._output import human_bytes, plural
from aiopcap.cli._tally import Tally

# What becomes a JSON object; the keys are in docs/reference/command-line.rst.
Description = dict[str, Any]

_PRECISIONS = {6: "micro", 9: "nano"}
_OTHER_ORDER = {"little": "big", "big": "little"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000


def description(capture: OfflineCapture, tally: Tally) -> Description:
    """Describe a capture that was read as far as that goes, and what was counted of it."""
    order = _OTHER_ORDER[sys.byteorder] if capture.byte_swapped else sys.byteorder
    statistics = [each.statistics for each in capture.interfaces if each.statistics is not None]
    return {
        "format": capture.format,
        "version": list(capture.version),
        "byte_order": order,
        "precision": _PRECISIONS[capture.timestamp_precision],
        "compression": capture.compression,
        "snaplen": capture.snaplen,
        "linktypes": [kind.name for kind in tally.linktypes or [capture.linktype]],
        "packets": tally.packets,
        "captured_bytes": tally.captured_bytes,
        "wire_bytes": tally.wire_bytes,
        "cut_packets": tally.cut_packets,
        "untimed_packets": tally.untimed_packets,
        "out_of_order": tally.out_of_order,
        **_times(tally),
        "dropped": _total(each.dropped for each in statistics),
        "if_dropped": _total(each.if_dropped for each in statistics),
        "interfaces": list(_interfaces(capture, tally)),
        "sections": [
            {
                "byte_order": section.byte_order,
                "hardware": section.hardware,
                "os": section.os,
                "application": section.application,
                "comments": list(section.comments),
            }
            for section in capture.sections
        ],
        "skipped_blocks": capture.skipped_blocks,
    }


def _times(tally: Tally) -> Description:
    duration_ns = packet_rate = bit_rate = None
    if tally.first_ns is not None and tally.last_ns is not None:
        duration_ns = tally.last_ns - tally.first_ns
        if duration_ns:
            packet_rate = tally.packets * _SECOND_NS / duration_ns
            bit_rate = tally.wire_bytes * 8 * _SECOND_NS / duration_ns
    return {
        "first_ns": tally.first_ns,
        "last_ns": tally.last_ns,
        "duration_ns": duration_ns,
        "packets_per_second": packet_rate,
        "bits_per_second": bit_rate,
    }


def _total(counts: Iterable[int | None]) -> int | None:
    """Return the sum of those that are known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _interfaces(capture: OfflineCapture, tally: Tally) -> Iterator[Description]:
    """Describe the interfaces; packets do not tell apart those of one name and link type."""
    alike: dict[tuple[str, LinkType], list[Interface]] = {}
    for interface in capture.interfaces:
        alike.setdefault((interface.name, interface.linktype), []).append(interface)
    for (name, linktype), several in alike.items():
        statistics = [each.statistics for each in several if each.statistics is not None]
        yield {
            "name": name,
            "linktype": linktype.name,
            "snaplen": max(each.snaplen for each in several),
            "description": several[0].description,
            "filter": several[0].filter,
            "hardware": several[0].hardware,
            "os": several[0].os,
            "comments": [comment for each in several for comment in each.comments],
            "packets": tally.interfaces[name, linktype],
            "received": _total(each.received for each in statistics),
            "dropped": _total(each.dropped for each in statistics),
            "if_dropped": _total(each.if_dropped for each in statistics),
        }


def text(found: Description) -> str:
    """Return a description as lines for people."""
    lines = [found["file"]]
    for label, value in _rows(found):
        lines.append(f"  {label:<12} {_printable(value)}")
    return "\n".join(lines) + "\n"


def _printable(value: str) -> str:
    # A comment in a file is not to move the terminal's cursor.
    return "".join(char if char.isprintable() else " " for char in value)


def _rows(found: Description) -> Iterator[tuple[str, str]]:
    version = ".".join(map(str, found["version"]))
    words = [f"{found['format']} {version}", f"{found['byte_order']}-endian"]
    yield "format", ", ".join([*words, f"{found['precision']}seconds"])
    if found["compression"] is not None:
        yield "compression", found["compression"]
    if "sha256" in found:
        yield "file", _bytes(found["file_bytes"])
        yield "sha256", found["sha256"]
    yield "link type", ", ".join(found["linktypes"])
    yield "snaplen", str(found["snaplen"])
    yield "packets", str(found["packets"])
    yield from _oddities(found)
    yield "captured", _bytes(found["captured_bytes"])
    yield "on the wire", _bytes(found["wire_bytes"])
    yield from _time_rows(found)
    yield from _drops("dropped", found)
    for section in found["sections"]:
        yield from _section_rows(section)
    for interface in found["interfaces"]:
        yield "interface", _interface(interface)
        yield from _drops("", interface)
        yield from (("comment", comment) for comment in interface["comments"])


def _oddities(found: Description) -> Iterator[tuple[str, str]]:
    for key, words in (
        ("cut_packets", "cut by the snaplen"),
        ("untimed_packets", "without a time"),
        ("out_of_order", "earlier than the packet before"),
    ):
        if found[key]:
            yield "", f"{found[key]} {words}"
    if found["skipped_blocks"]:
        yield "", f"{plural(found['skipped_blocks'], 'block')} of other kinds"


def _time_rows(found: Description) -> Iterator[tuple[str, str]]:
    if found["first_ns"] is None:
        return
    yield "first", _time(found["first_ns"])
    yield "last", _time(found["last_ns"])
    yield "duration", f"{_seconds(found['duration_ns'])} s"
    if found["packets_per_second"] is not None:
        packets, bits = found["packets_per_second"], found["bits_per_second"]
        yield "rate", f"{packets:.6g} packets/s, {bits / 1e6:.6g} Mbit/s"


def _drops(label: str, counts: Description) -> Iterator[tuple[str, str]]:
    words = [
        f"{counts[key]} by the {whom}"
        for key, whom in (("dropped", "system"), ("if_dropped", "interface"))
        if counts[key] is not None
    ]
    if words:
        yield label, ", ".join(words)


def _section_rows(section: Description) -> Iterator[tuple[str, str]]:
    origin = [section[key] for key in ("application", "os", "hardware") if section[key]]
    if origin:
        yield "written by", ", ".join(origin)
    yield from (("comment", comment) for comment in section["comments"])


def _interface(interface: Description) -> str:
    words = [interface["name"], interface["linktype"], plural(interface["packets"])]
    words.append(f"snaplen {interface['snaplen']}" if interface["snaplen"] else "no snaplen")
    words += [interface["description"]] if interface["description"] else []
    words += [f"filter {interface['filter']!r}"] if interface["filter"] else []
    return ", ".join(words)


def _bytes(size: int) -> str:
    return plural(size, "byte") + (f" ({human_bytes(size)})" if size >= 1024 else "")


def _seconds(ns: int) -> str:
    seconds, fraction = divmod(ns, _SECOND_NS)
    return f"{seconds}.{fraction:09d}"


def _time(timestamp_ns: int) -> str:
    seconds, fraction = divmod(timestamp_ns, _SECOND_NS)
    try:
        when = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return f"{_seconds(timestamp_ns)} s after 1970"
    return f"{when}.{fraction:09d}Z"
