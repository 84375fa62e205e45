"""Opening whatever a source string names."""

from typing import TypedDict, Unpack

from aiopcap._core.constants import Direction, SourceType, TimestampType
from aiopcap._core.errors import NoSuchDeviceError, printable
from aiopcap._core.filter import Filter
from aiopcap._core.sourcestring import Source, as_source
from aiopcap._streams.live import LiveCapture, open_live
from aiopcap._streams.offline import OfflineCapture, open_offline


class LiveKeywords(TypedDict, total=False):
    """The options of `open_live`, beside the filter."""

    snaplen: int
    promisc: bool
    buffer_timeout: float
    immediate: bool
    buffer_size: int | None
    direction: Direction | str
    rfmon: bool
    timestamp_type: TimestampType | str | None
    fanout: tuple[int, int] | None


async def open(
    source: Source,
    *,
    filter: str | Filter | None = None,
    follow: bool = False,
    **options: Unpack[LiveKeywords],
) -> LiveCapture | OfflineCapture:
    """Open a device or a savefile, whichever a source string names (pcap_open).

    ``rpcap://eth0`` and ``eth0`` are devices, as `open_live` opens them. ``file://traffic.pcap``,
    ``./traffic.pcap`` and every `os.PathLike` are savefiles, as `open_offline` opens them. What
    has neither a scheme nor a slash is a device, whatever files there are: the text alone
    decides. ``file://-`` is standard input.

    Args:
        source: A source string (`SourceString.parse` has the rules), a `SourceString`, or an
            `os.PathLike`, which is always a path.
        filter: An expression (pcap-filter(7)) or a compiled filter.
        follow: As for `open_offline`: for a savefile only.
        **options: Those of `open_live`, for a device only.

    Raises:
        ValueError: If it is not a source string, or names nothing (``rpcap://``).
        TypeError: If an option does not fit the kind of source.
        NotImplementedError: If the source is on another host (``rpcap://host/eth0``).
        OSError, PcapError: As `open_live` and `open_offline`.

    Warns:
        PcapWarning: As `open_live`.
    """
    named = as_source(source)
    is_file = named.type is SourceType.FILE
    if not named.name:
        raise ValueError(f"{named} names no {'file' if is_file else 'device'}")
    if is_file:
        if options:
            raise TypeError(
                f"{', '.join(options)}: for devices only, and {printable(str(named))} is a savefile"
            )
        return await open_offline(named.name, filter=filter, follow=follow)
    if follow:
        raise TypeError(f"follow: for savefiles only, and {printable(str(named))} is a device")
    try:
        return await open_live(named.name, filter=filter, **options)
    except NoSuchDeviceError as error:
        if source == named.name:
            error.add_note(f"a savefile of that name would be file://{printable(named.name)}")
        raise
