"""`aiopcap replay`: packets from a savefile onto a device."""

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import click

import aiopcap
from aiopcap import LiveCapture, PcapError, SendError, SendQueue, TransmitReport
from aiopcap.cli._counters import REFRESH_SECONDS
from aiopcap.cli._options import backend_option, filter_argument, joined, positive
from aiopcap.cli._output import plural
from aiopcap.cli._progress import SendProgress
from aiopcap.cli._running import ended_by_signals, note, run

# Nothing is read from the device: no packet passes, the buffer is a small one, and the kernel need
# not look after it a thousand times a second, which makes packets late.
_DEAF: dict[str, Any] = {
    "filter": "less 0",
    "promisc": False,
    "buffer_size": 1024 * 1024,
    "buffer_timeout": 1.0,
}

# Of a file up to this size the packets are counted first, for the progress bar: it would be read
# long before it is sent. In a larger one, how much was read is close to how much was sent.
_COUNTED_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command line asked for."""

    file: str
    device: str
    filter: str | None
    limit: int | None
    loop: int | None
    preload: bool
    quiet: bool
    options: dict[str, Any]

    @property
    def endless(self) -> bool:
        """Whether somebody has to end it."""
        return self.loop is None and self.limit is None


@click.command(short_help="Send the packets of a savefile.")
@click.argument("file")
@click.argument("device")
@filter_argument
@click.option("--topspeed", is_flag=True, help="As fast as the device takes them.  [default]")
@click.option("--sync", is_flag=True, help="At the distances of the packets' time stamps.")
@click.option(
    "--speed",
    type=positive,
    metavar="FACTOR",
    help="Like --sync, but so many times as fast: 2 is twice as fast, 0.5 half.",
)
@click.option("--pps", type=positive, metavar="N", help="Evenly, N packets a second.")
@click.option("--mbps", type=positive, metavar="X", help="Evenly, X million bits a second.")
@click.option(
    "--timing",
    type=click.Choice(["exact", "gentle"]),
    help="How to wait for a packet's time: by watching the clock, which takes up to a whole "
    "processor, or by sleeping.  [default: exact]",
)
@click.option(
    "--loop",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Send the file N times; 0 is endlessly.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Send at most N packets in all."
)
@click.option(
    "--send-truncated",
    is_flag=True,
    help="Also send packets that the capture has cut; by default they are left out.",
)
@click.option(
    "--preload",
    is_flag=True,
    help="Read the whole file into memory first. By default it is sent while it is read.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
@backend_option
def replay(
    file: str,
    device: str,
    filter: tuple[str, ...],
    topspeed: bool,
    sync: bool,
    speed: float | None,
    pps: float | None,
    mbps: float | None,
    timing: str | None,
    loop: int,
    limit: int | None,
    send_truncated: bool,
    preload: bool,
    quiet: bool,
    backend: str,
) -> None:
    """Send the packets of the savefile FILE on DEVICE, as they are.

    FILE is pcap or pcapng; '-' is standard input. FILTER is an expression in libpcap's language,
    in one word or several: see man pcap-filter. Only what passes is sent.

    \b
        aiopcap replay all.pcap eth0
        aiopcap replay all.pcap eth0 --speed 2 udp port 53
        aiopcap replay all.pcap eth0 --mbps 100 --loop 0
    """  # noqa: D301 - click takes the escape for "leave the lines as they are"
    _refuse_several(
        {
            "--topspeed": topspeed,
            "--speed" if speed is not None else "--sync": sync or speed is not None,
            "--pps": pps is not None,
            "--mbps": mbps is not None,
        }
    )
    paced = sync or any(value is not None for value in (speed, pps, mbps))
    if timing is not None and not paced:
        raise click.UsageError("--timing is of use with --sync, --speed, --pps or --mbps only")
    if loop != 1 and not preload and _is_pipe(file):
        raise click.UsageError("a pipe can be read only once: --loop needs --preload")
    job = Job(
        file=file,
        device=device,
        filter=joined(filter),
        limit=limit,
        loop=loop or None,
        preload=preload,
        quiet=quiet,
        options={
            "sync": sync or speed is not None,
            "speed": 1.0 if speed is None else speed,
            "pps": pps,
            "bits_per_second": None if mbps is None else mbps * 1e6,
            "timing": timing or "exact",
            "send_truncated": send_truncated,
        },
    )
    run(partial(_work, job), backend)


def _refuse_several(schedules: dict[str, bool]) -> None:
    given = [name for name, wanted in schedules.items() if wanted]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other")


def _is_pipe(name: str) -> bool:
    path = Path(name)
    return name == "-" or (path.exists() and not (path.is_file() or path.is_dir()))


async def _work(job: Job) -> None:
    opened = False
    async with ended_by_signals() as ending, await aiopcap.open_live(job.device, **_DEAF) as live:
        opened = True
        await _send(job, live)
    if ending.signal is not None and not (opened and job.endless):
        # It was not done yet.
        raise click.exceptions.Exit(128 + ending.signal)


async def _send(job: Job, live: LiveCapture) -> None:
    progress = SendProgress(wanted=not job.quiet)
    failed, told = 0, not job.quiet
    try:
        with progress:
            await (_preloaded if job.preload else _streamed)(job, live, progress)
    except SendError:
        failed = 1
        raise
    except (PcapError, OSError):
        told = told and progress.report.packets > 0
        raise
    finally:
        if told:
            note(_summary(progress.report, failed))


async def _preloaded(job: Job, live: LiveCapture, progress: SendProgress) -> None:
    queue = SendQueue()
    async with await aiopcap.open_offline(job.file, filter=job.filter) as offline:
        await queue.extend_from(offline)
    progress.expect_packets(_in_all(len(queue), job))
    await queue.transmit(
        live,
        loop=job.loop,
        limit=job.limit,
        progress=progress.show,
        progress_interval=REFRESH_SECONDS,
        **job.options,
    )


async def _streamed(job: Job, live: LiveCapture, progress: SendProgress) -> None:
    source: str | FileIO = job.file
    with ExitStack() as stack:
        progress.expect_packets(job.limit)
        size = _size(job.file)
        if size is not None and size <= _COUNTED_BYTES and progress.shown:
            progress.expect_packets(_in_all(await _count(job), job))
        elif size is not None and job.limit is None:
            if job.loop == 1:
                source = stack.enter_context(FileIO(job.file))
                progress.expect_end(source)
            elif job.loop is not None:
                progress.expect_passes(job.loop)
        await aiopcap.replay(
            source,
            live,
            filter=job.filter,
            loop=job.loop,
            limit=job.limit,
            progress=progress.show,
            progress_interval=REFRESH_SECONDS,
            **job.options,
        )


def _size(name: str) -> int | None:
    """Return the size of a file; None where it is a pipe or standard input."""
    path = Path(name)
    return path.stat().st_size if name != "-" and path.is_file() else None


def _in_all(packets: int, job: Job) -> int | None:
    """Return how many of a file's packets are sent in all passes; None for endlessly many."""
    most = None if job.loop is None or packets == 0 else packets * job.loop
    return min((number for number in (most, job.limit) if number is not None), default=None)


async def _count(job: Job) -> int:
    """Count the packets that pass; what is wrong with the file is said when it is sent."""
    packets = 0
    with suppress(PcapError, OSError):
        async with await aiopcap.open_offline(job.file, filter=job.filter) as offline:
            async for batch in offline.batches():
                packets += len(batch)
    return packets


def _summary(report: TransmitReport, failed: int) -> str:
    return (
        f"{plural(report.packets)} sent, {plural(report.nbytes, 'byte')} in "
        f"{report.elapsed:.3f} s, {report.packets_per_second:.0f} packets/s, "
        f"{report.bits_per_second / 1e6:.2f} Mbit/s, {report.truncated} truncated left out, "
        f"{failed} failed"
    )
