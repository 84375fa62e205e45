"""Which format a savefile is written in."""

import os

from aiopcap._core.bytetarget import Writable
from aiopcap._core.interfaces import Interface
from aiopcap._core.linktype import LinkType
from aiopcap._core.pcapformat import PcapFormat
from aiopcap._core.pcapngformat import PcapngFormat
from aiopcap._core.rotation import split_suffix
from aiopcap._core.savefileformat import SavefileFormat


def choose_format(
    name: str | None,
    target: Writable,
    *,
    linktype: LinkType | None,
    snaplen: int,
    precision: str,
    interfaces: tuple[Interface, ...] = (),
    comments: tuple[str, ...] = (),
    checksum_bits: int = 0,
) -> SavefileFormat:
    """Return what is to be written, checked before a file is opened.

    Args:
        name: "pcap" or "pcapng"; by the target's name where None.
        target: What is written to.
        linktype: Of packets that do not say, and in pcap of all.
        snaplen: The most bytes of a packet.
        precision: "nano" or "micro".
        interfaces: What is known of interfaces; pcapng's only.
        comments: On a section; pcapng's only.
        checksum_bits: The upper bits of a link type field; pcap's only.

    Raises:
        ValueError: If something cannot be in such a file.
    """
    if name not in (None, "pcap", "pcapng"):
        raise ValueError(f"format is 'pcap' or 'pcapng', not {name!r}")
    if (name or _format_of(target)) == "pcapng":
        return PcapngFormat(linktype, snaplen, precision, interfaces, comments)
    if linktype is None:
        raise ValueError("a pcap file needs a linktype; in a pcapng file each packet has its own")
    if comments:
        raise ValueError("a pcap file has no comments; a pcapng file can have them")
    return PcapFormat(linktype, snaplen, precision, checksum_bits)


def _format_of(target: Writable) -> str:
    if not isinstance(target, str | os.PathLike):
        return "pcap"
    _, suffix = split_suffix(os.fspath(target))
    return "pcapng" if suffix.lower().startswith(".pcapng") else "pcap"
