"""`aiopcap convert`: savefiles into another, in another format, compressed, merged or split."""

import math
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from aiopcap import Dumper, PacketStream, Rotation, merge, open_offline
from aiopcap.cli._conversion import Conversion, known_interfaces, open_target
from aiopcap.cli._counters import CopyProgress
from aiopcap.cli._files import check_another_file, regular_file, shown
from aiopcap.cli._options import backend_option, byte_size, positive
from aiopcap.cli._output import plural
from aiopcap.cli._running import ended_by_signals, note, run
from aiopcap.cli._sinks import check_savefile_argument, pump
from aiopcap.cli._splitting import ConvertingSink


@click.command(short_help="Convert, merge and split savefiles.")
@click.argument("sources", nargs=-1, required=True, metavar="IN...")
@click.argument("target", metavar="OUT")
@click.option("-f", "--filter", metavar="FILTER", help="Take only packets that pass: pcap-filter.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take at most N packets.")
@click.option(
    "--format",
    type=click.Choice(["pcap", "pcapng"]),
    help="What to write.  [default: pcapng where OUT ends with .pcapng, else pcap]",
)
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "xz", "zstd", "lz4"]),
    help="How to compress it.  [default: by the end of OUT: .gz, .xz, .zst, .lz4]",
)
@click.option(
    "--precision",
    type=click.Choice(["nano", "micro"]),
    help="Resolution of the time stamps.  [default: that of IN, or of OUT with --append]",
)
@click.option("--append", is_flag=True, help="Go on with OUT, if it is there.")
@click.option(
    "--split-packets",
    type=click.IntRange(min=1),
    metavar="N",
    help="Begin another file after N packets.",
)
@click.option(
    "--split-bytes",
    type=byte_size,
    metavar="BYTES",
    help="Begin another file before one has more bytes, such as 100M.",
)
@click.option(
    "--split-seconds",
    type=positive,
    metavar="S",
    help="Begin another file every S seconds of the packets' time, from the first packet on.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="When splitting, keep only the last N files.",
)
@backend_option
def convert(
    sources: tuple[str, ...],
    target: str,
    filter: str | None,
    limit: int | None,
    format: str | None,
    compression: str | None,
    precision: str | None,
    append: bool,
    split_packets: int | None,
    split_bytes: int | None,
    split_seconds: float | None,
    keep: int | None,
    backend: str,
) -> None:
    """Write the packets of the savefiles IN to the savefile OUT; '-' is a pipe.

    Several files are merged in the order of their packets' times. A file that is there is
    overwritten; IN and OUT cannot be the same. When splitting, OUT is a pattern with strftime's
    codes and {n} for a counter, all.pcap becomes all-00001.pcap, and nothing is overwritten.

    \b
        aiopcap convert old.pcap new.pcapng
        aiopcap convert monday.pcap.gz tuesday.pcap.gz both.pcap.zst
        aiopcap convert huge.pcap part.pcap --split-bytes 100M -f 'tcp port 443'
    """  # noqa: D301 - click takes the escape for "leave the lines as they are"
    check_savefile_argument(target)
    if sources.count("-") > 1:
        raise click.UsageError("standard input can be read only once")
    rotation = _rotation(split_packets, split_bytes, split_seconds, keep)
    if rotation is None and keep is not None:
        raise click.UsageError("--keep is of use with --split-packets, -bytes or -seconds only")
    if rotation is not None and (append or target == "-"):
        what = "--append" if append else "standard output"
        raise click.UsageError(f"what is split goes to new files: {what} is no place for it")
    named_pcapng = ".pcapng" in Path(target).suffixes[-2:]
    options: dict[str, Any] = {}
    if compression is not None:
        options["compression"] = None if compression == "none" else compression
    job = Conversion(
        sources=sources,
        target=target,
        filter=filter,
        limit=limit,
        format=format or ("pcapng" if named_pcapng else "pcap"),
        precision=precision,
        append=append,
        rotation=rotation,
        split_seconds=split_seconds,
        options=options,
    )
    run(partial(_work, job), backend)


def _rotation(
    packets: int | None, nbytes: int | None, seconds: float | None, keep: int | None
) -> Rotation | None:
    if packets is nbytes is seconds is None:
        return None
    # Its seconds are those of the clock; those of the packets are counted where they are written.
    never = None if seconds is None else math.inf
    return Rotation(max_packets=packets, max_bytes=nbytes, max_seconds=never, keep=keep)


async def _work(job: Conversion) -> None:
    if job.rotation is None:
        for source in job.sources:
            check_another_file(source, job.target)
    async with ended_by_signals() as ending:
        await _convert(job)
    if ending.signal is not None:
        raise click.exceptions.Exit(128 + ending.signal)


async def _convert(job: Conversion) -> None:
    async with AsyncExitStack() as stack:
        files = []
        for source in job.sources:
            files.append(file := regular_file(source))
            if file is not None:
                stack.callback(file.close)
        captures = [
            await stack.enter_async_context(await open_offline(file or source, filter=job.filter))
            for source, file in zip(job.sources, files, strict=True)
        ]
        packets: PacketStream = captures[0]
        if len(captures) > 1:
            packets = await stack.enter_async_context(merge(*captures, names=job.sources))
        dumper = await stack.enter_async_context(await open_target(job, captures))
        sink = ConvertingSink(
            dumper,
            name=shown(job.target),
            flush=job.target == "-",
            split_seconds=job.split_seconds,
        )
        progress = stack.enter_context(CopyProgress(files, sink))
        try:
            await pump(packets, sink, job.limit, beside=progress.follow)
            for interface in known_interfaces(job, captures):
                await sink.take_statistics(interface)
        finally:
            await _finish(job, dumper, sink, stack)


async def _finish(
    job: Conversion, dumper: Dumper, sink: ConvertingSink, stack: AsyncExitStack
) -> None:
    """Complete the file, also for whoever interrupted it, and only then say so."""
    try:
        await stack.aclose()
    except OSError as error:
        sink.failure = error
        raise
    finally:
        if sink.failure is None:
            note(_written(job, dumper, sink.packets))


def _written(job: Conversion, dumper: Dumper, packets: int) -> str:
    if job.rotation is None:
        return f"{plural(packets)} written to {shown(job.target)}"
    files = dumper.files
    which = f": {files[0]} to {files[-1]}" if files else ""
    return f"{plural(packets)} written; {plural(len(files), 'file')}{which}"
