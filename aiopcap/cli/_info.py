"""`aiopcap info`: what there is in savefiles."""

import json
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import click
from anyio import to_thread

from aiopcap import PcapError, open_offline
from aiopcap.cli._description import Description, description, text
from aiopcap.cli._hashed import HashedFile
from aiopcap.cli._options import backend_option
from aiopcap.cli._output import TextOutput
from aiopcap.cli._running import ended_by_signals, message_of, note, run
from aiopcap.cli._tally import Tally


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command line asked for."""

    files: tuple[str, ...]
    json: bool


@click.command(short_help="Tell what there is in savefiles.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", is_flag=True, help="Print a line with a JSON object for each file.")
@backend_option
def info(files: tuple[str, ...], json: bool, backend: str) -> None:
    """Tell the format, packets, times, rates, interfaces and digest of each savefile FILE.

    '-' is standard input. Of a damaged file, it is what could be read; then comes the error, the
    next file, and in the end the exit code is 1.

    \b
        aiopcap info monday.pcapng tuesday.pcap.gz
        aiopcap info --json all.pcap | jq '.packets, .sha256'
    """  # noqa: D301 - click takes the escape for "leave the lines as they are"
    if files.count("-") > 1:
        raise click.UsageError("standard input can be read only once")
    run(partial(_work, Job(files=files, json=json)), backend)


async def _work(job: Job) -> None:
    output = TextOutput()
    damaged = False
    async with ended_by_signals() as ending:
        for file in job.files:
            found = await _examine(file)
            error = found["error"]
            if job.json:
                await output.write(json.dumps(found) + "\n")
            elif "packets" in found:
                await output.write(text(found))
            if error is not None:
                note(error)
                damaged = True
    if ending.signal is not None:
        raise click.exceptions.Exit(128 + ending.signal)
    if damaged:
        raise click.exceptions.Exit(1)


async def _examine(name: str) -> Description:
    """Read a file to its end; an error is part of what is found."""
    found: Description = {"file": name}
    failure: PcapError | OSError | None = None
    try:
        with closing(await to_thread.run_sync(HashedFile, name)) as file:
            try:
                await _read(file, found)
            except (PcapError, OSError) as error:
                failure = error
            digest = await to_thread.run_sync(file.read_rest, abandon_on_cancel=True)
            found |= {"file_bytes": file.nbytes, "sha256": digest}
    except OSError as error:
        failure = failure or error
    return found | {"error": failure and message_of(failure)}


async def _read(file: HashedFile, found: Description) -> None:
    """Add to what is found as much as can be read."""
    async with await open_offline(file) as capture:
        tally = Tally(pcapng=capture.format == "pcapng")
        try:
            async for batch in capture.batches():
                tally.add(batch)
        finally:
            found.update(description(capture, tally))
