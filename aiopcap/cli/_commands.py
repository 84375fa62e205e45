"""The command group."""

import click

import aiopcap
from aiopcap.cli._capture import capture
from aiopcap.cli._convert import convert
from aiopcap.cli._demo import demo
from aiopcap.cli._devices import devices
from aiopcap.cli._info import info
from aiopcap.cli._read import read
from aiopcap.cli._replay import replay


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A FILTER is an expression in libpcap's language: man pcap-filter. "
    "'aiopcap COMMAND --help' has the options of a command.",
)
@click.version_option(
    aiopcap.__version__,
    message=f"%(prog)s %(version)s, {aiopcap.libpcap_version()}",
)
def cli() -> None:
    """Capture, filter, read, dump and send network packets."""


cli.add_command(devices)
cli.add_command(capture)
cli.add_command(read)
cli.add_command(info)
cli.add_command(convert)
cli.add_command(replay)
cli.add_command(demo)
