"""Sending a savefile while it is read."""

import os
from collections.abc import AsyncIterator

from aiopcap._core.batch import PacketBatch
from aiopcap._core.bytesource import Readable
from aiopcap._core.filter import Filter
from aiopcap._core.transmission import Pacing, Piece, Transmission, TransmitReport, check_counts
from aiopcap._streams.offline import open_offline
from aiopcap._streams.sending import Carrier, Progress, Target, sending_of

REPEATABLE = (str, os.PathLike, bytes, bytearray, memoryview)


async def replay(
    source: Readable,
    target: Target,
    *,
    filter: str | Filter | None = None,
    limit: int | None = None,
    sync: bool = False,
    speed: float = 1.0,
    pps: float | None = None,
    bits_per_second: float | None = None,
    loop: int | None = 1,
    timing: str = "exact",
    send_truncated: bool = False,
    progress: Progress | None = None,
    progress_interval: float = 0.1,
) -> TransmitReport:
    """Send the packets of a savefile, batch by batch as they are read.

    It takes no more memory for a large file than for a small one. Where every microsecond counts,
    or the disk is slow, fill a `SendQueue` with `SendQueue.extend_from` and transmit that.

    Cancelled, it stops within 50 ms, as `SendQueue.transmit` does.

    Args:
        source: What `open_offline` takes; with `loop` a path or bytes, read again for each pass.
        target: A live capture.
        filter: An expression (pcap-filter(7)) or a compiled filter: what to send.
        limit: The most packets to send, in all passes together.
        sync: As all that follow, see `SendQueue.transmit`.
        speed: A factor for the time stamps.
        pps: Packets in a second.
        bits_per_second: Bits of frames in a second.
        loop: How often to send the file; None for endlessly, or until a pass has nothing to send.
        timing: "exact" or "gentle".
        send_truncated: Also send packets that a capture's snaplen has cut.
        progress: Called with a `TransmitReport` from time to time, and once at the end.
        progress_interval: Seconds from one such call to the next.

    Raises:
        SendError: If a packet could not be sent; its index counts the packets that pass the filter.
        OSError, SavefileError, TruncatedSavefileError, FilterError: As `open_offline`, and when
            the file turns out to be damaged; what came before is sent.
        ValueError, PcapError, TypeError, anyio.ClosedResourceError, anyio.BusyResourceError: As
            `SendQueue.transmit`.

    Warns:
        PcapWarning: If the packets begin with something else than the device's do.
    """
    pacing = Pacing(sync, speed, pps, bits_per_second, timing)
    check_counts(loop=loop, limit=limit)
    if loop != 1 and (source == "-" or not isinstance(source, REPEATABLE)):
        raise ValueError("loop needs a path or bytes: a stream can be read once")
    sending = sending_of(target, ())
    run = Transmission(sending.sender, pacing, send_truncated=send_truncated, limit=limit)
    with sending.carrier(run, progress, progress_interval) as carrier:
        passes, sent = 0, -1
        # What is left out of one pass is left out of all: this one may have been the last.
        while passes != loop and limit != run.packets > sent:
            sent = run.packets
            async with await open_offline(source, filter=filter) as capture:
                if passes == 0:
                    sending_of(target, {capture.linktype})
                await _send(capture.batches(), carrier, run)
            passes += 1
    return run.report()


async def _send(batches: AsyncIterator[PacketBatch], carrier: Carrier, run: Transmission) -> None:
    """Send one pass."""
    index = 0
    async for batch in batches:
        await carrier.carry([Piece(batch, 0, index, begins_pass=index == 0)])
        if run.at_limit:
            return
        index += len(batch)
    run.end_pass()
