"""`aiopcap read`: packets from a savefile, as lines or into another savefile."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import click

from aiopcap import open_offline
from aiopcap.cli._counters import CopyProgress
from aiopcap.cli._files import check_another_file, regular_file, shown
from aiopcap.cli._lines import LineFormat
from aiopcap.cli._options import (
    backend_option,
    count_option,
    filter_argument,
    hex_option,
    joined,
    time_option,
)
from aiopcap.cli._output import plural
from aiopcap.cli._running import ended_by_signals, note, run
from aiopcap.cli._sinks import Printer, SavefileSink, check_savefile_argument, pump

_PRECISIONS = {6: "micro", 9: "nano"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command line asked for."""

    file: str
    filter: str | None
    savefile: str | None
    count: int | None
    precision: str | None
    clock: str
    hex: bool


@click.command(short_help="Read packets from a savefile.")
@click.argument("file")
@filter_argument
@click.option(
    "-w",
    "--write",
    "savefile",
    metavar="OUT",
    help="Copy the packets to a savefile instead of printing lines; '-' is standard output.",
)
@count_option
@click.option(
    "--precision",
    type=click.Choice(["nano", "micro"]),
    help="Resolution of the copy's time stamps.  [default: that of FILE]",
)
@time_option
@hex_option
@backend_option
def read(
    file: str,
    filter: tuple[str, ...],
    savefile: str | None,
    count: int | None,
    precision: str | None,
    clock: str,
    hex: bool,
    backend: str,
) -> None:
    """Read packets from the savefile FILE, pcap or pcapng; '-' is standard input.

    FILTER is an expression in libpcap's language, in one word or several: see man pcap-filter.

    \b
        aiopcap read all.pcap tcp port 443
        aiopcap read all.pcap -w dns.pcap udp port 53
        tcpdump -w - | aiopcap read -
    """  # noqa: D301 - click takes the escape for "leave the lines as they are"
    check_savefile_argument(savefile)
    job = Job(
        file=file,
        filter=joined(filter),
        savefile=savefile,
        count=count,
        precision=precision,
        clock=clock,
        hex=hex,
    )
    run(partial(_work, job), backend)


async def _work(job: Job) -> None:
    async with ended_by_signals() as ending:
        if job.savefile is None:
            await _print(job)
        else:
            await _copy(job, job.savefile)
    if ending.signal is not None:
        # Unlike a capture, which somebody has to end, this was not done yet.
        raise click.exceptions.Exit(128 + ending.signal)


async def _print(job: Job) -> None:
    async with await open_offline(job.file, filter=job.filter) as offline:
        # A pcap file does not say where its packets come from.
        device = offline.format == "pcapng"
        line_format = LineFormat(clock=job.clock, device=device, hex=job.hex)
        await pump(offline, Printer(line_format), job.count)


async def _copy(job: Job, target: str) -> None:
    check_another_file(job.file, target)
    async with AsyncExitStack() as stack:
        file = regular_file(job.file)
        if file is not None:
            stack.callback(file.close)
        offline = await stack.enter_async_context(
            await open_offline(job.file if file is None else file, filter=job.filter)
        )
        precision = job.precision or _PRECISIONS[offline.timestamp_precision]
        dumper = await stack.enter_async_context(
            await offline.dump_open(target, precision=precision)
        )
        sink = SavefileSink(dumper, flush=target == "-")
        progress = stack.enter_context(CopyProgress([file], sink))
        try:
            await pump(offline, sink, job.count, beside=progress.follow)
        finally:
            await stack.aclose()
            if sink.failure is None:
                note(f"{plural(sink.packets)} written to {shown(target)}")
