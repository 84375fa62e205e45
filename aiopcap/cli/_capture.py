"""`aiopcap capture`: packets from a device, as lines or into a savefile."""

import errno
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import click

from aiopcap import CaptureStatistics, Direction, Dumper, LiveCapture, TimestampType, open_live
from aiopcap.cli._counters import REFRESH_SECONDS, LiveCounters
from aiopcap.cli._lines import LineFormat
from aiopcap.cli._options import (
    backend_option,
    byte_size,
    count_option,
    filter_argument,
    hex_option,
    joined,
    time_option,
)
from aiopcap.cli._output import plural
from aiopcap.cli._running import GRACE_SECONDS, Ending, ended_by_signals, note, run
from aiopcap.cli._sinks import Printer, SavefileSink, Sink, check_savefile_argument, pump

# A quiet capture's file is not to lag behind by more than this.
FLUSH_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command line asked for."""

    device: str
    filter: str | None
    savefile: str | None
    count: int | None
    duration: float | None
    precision: str
    clock: str
    hex: bool
    quiet: bool
    options: dict[str, Any]

    def note(self, message: str) -> None:
        """Print a line on stderr, unless it shall be quiet."""
        if not self.quiet:
            note(message)


@click.command(short_help="Capture packets from a device.")
@click.argument("device")
@filter_argument
@click.option(
    "-w",
    "--write",
    "savefile",
    metavar="FILE",
    help="Write the packets to a savefile instead of printing lines; '-' is standard output.",
)
@count_option
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after so many seconds.",
)
@click.option(
    "-s",
    "--snaplen",
    type=byte_size,
    default="256K",
    show_default=True,
    metavar="BYTES",
    help="The most bytes of each packet to capture.",
)
@click.option(
    "-p",
    "--no-promisc",
    is_flag=True,
    help="Capture only what the device receives anyway.",
)
@click.option(
    "--direction",
    type=click.Choice([str(direction) for direction in Direction]),
    default=str(Direction.INOUT),
    show_default=True,
    help="Capture received packets, sent ones, or both.",
)
@click.option(
    "-B",
    "--buffer-size",
    type=byte_size,
    metavar="BYTES",
    default="16M",
    show_default=True,
    help="The kernel's buffer.",
)
@click.option(
    "--buffer-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=0.001,
    show_default=True,
    metavar="SECONDS",
    help="How long the kernel may gather packets before it hands them over.",
)
@click.option("--immediate", is_flag=True, help="Hand over each packet at once.")
@click.option(
    "-I",
    "--monitor",
    "--rfmon",
    "rfmon",
    is_flag=True,
    help="Put a Wi-Fi device into monitor mode.",
)
@click.option(
    "-j",
    "--timestamp-type",
    type=click.Choice([str(kind) for kind in TimestampType]),
    metavar="TYPE",
    help=f"Where time stamps are taken: {', '.join(TimestampType)} (man pcap-tstamp).",
)
@click.option(
    "--precision",
    type=click.Choice(["nano", "micro"]),
    default="nano",
    show_default=True,
    help="Resolution of the savefile's time stamps.",
)
@time_option
@hex_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but packets and errors.")
@backend_option
def capture(
    device: str,
    filter: tuple[str, ...],
    savefile: str | None,
    count: int | None,
    duration: float | None,
    precision: str,
    clock: str,
    hex: bool,
    quiet: bool,
    backend: str,
    no_promisc: bool,
    **options: Any,
) -> None:
    """Capture packets from DEVICE until Ctrl-C, and count them.

    "any" captures from all devices (Linux). FILTER is an expression in libpcap's language, in one
    word or several: see man pcap-filter.

    \b
        aiopcap capture eth0 udp port 53
        aiopcap capture any -w all.pcap --duration 60
        aiopcap capture eth0 -w - 'host 192.0.2.7 and not tcp' | tshark -r -
    """  # noqa: D301 - click takes the escape for "leave the lines as they are"
    check_savefile_argument(savefile)
    job = Job(
        device=device,
        filter=joined(filter),
        savefile=savefile,
        count=count,
        duration=duration,
        precision=precision,
        clock=clock,
        hex=hex,
        quiet=quiet,
        options={**options, "promisc": not no_promisc},
    )
    run(partial(_work, job), backend)


async def _work(job: Job) -> None:
    opened = False
    async with ended_by_signals() as ending, AsyncExitStack() as stack:
        live = await open_live(job.device, filter=job.filter, **job.options)
        await stack.enter_async_context(live)
        opened = True
        ending.grace = GRACE_SECONDS
        await _capture(job, live, ending)
    if not opened and ending.signal is not None:
        raise click.exceptions.Exit(128 + ending.signal)


async def _capture(job: Job, live: LiveCapture, ending: Ending) -> None:
    async with AsyncExitStack() as stack:
        sink: Sink
        if job.savefile is None:
            sink = Printer(LineFormat(clock=job.clock, device=True, hex=job.hex))
            beside = None
        else:
            dumper = await stack.enter_async_context(
                await live.dump_open(job.savefile, precision=job.precision)
            )
            sink = SavefileSink(dumper, flush=job.savefile == "-")
            counters = stack.enter_context(LiveCounters(shown=not job.quiet))
            beside = partial(_accompany, live, sink, dumper, counters)
        shape = f"{live.linktype.name}, snaplen {live.snaplen}"
        job.note(f"capturing on {job.device} ({shape}); Ctrl-C ends it")
        ending.after(job.duration)
        try:
            await pump(live, sink, job.count, beside=beside)
        finally:
            await _finish(job, live, sink, stack)


async def _finish(job: Job, live: LiveCapture, sink: Sink, stack: AsyncExitStack) -> None:
    """Count first, then complete the file, and only then say so."""
    statistics = live.statistics()
    try:
        await stack.aclose()
    finally:
        if sink.failure is None or sink.failure.errno != errno.EPIPE:
            job.note(_counts(sink.packets, statistics))


async def _accompany(live: LiveCapture, sink: Sink, dumper: Dumper, counters: LiveCounters) -> None:
    """While packets are written, show how many, and leave none unwritten for long."""
    flushed_at, flushed_bytes = anyio.current_time(), -1
    while True:
        counters.update(sink.packets, dumper.tell(), live.statistics())
        await anyio.sleep(REFRESH_SECONDS)
        if anyio.current_time() - flushed_at >= FLUSH_SECONDS:
            flushed_at = anyio.current_time()
            if dumper.tell() != flushed_bytes:
                await dumper.flush()
                flushed_bytes = dumper.tell()


def _counts(captured: int, statistics: CaptureStatistics) -> str:
    parts = [
        f"{plural(captured)} captured",
        f"{statistics.received} received by filter",
        f"{statistics.dropped} dropped by kernel",
    ]
    if statistics.if_dropped:
        parts.append(f"{statistics.if_dropped} dropped by interface")
    return ", ".join(parts)
