"""`aiopcap devices`: what can be captured from."""

import ipaddress

import click
from rich.console import Console
from rich.table import Table

from aiopcap import Device, DeviceAddress, DeviceFlags, findalldevs
from aiopcap.cli._options import backend_option
from aiopcap.cli._running import run


@click.command(short_help="List the devices.")
@backend_option
def devices(backend: str) -> None:
    """List the devices that can be captured from.

    A table on a terminal; into a pipe, a line for each device with its name, state, addresses
    and description between tabs.
    """

    async def work() -> None:
        _show(await findalldevs())

    run(work, backend)


def _show(found: list[Device]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for device in found:
            fields = (device.name, state(device), " ".join(addresses(device)))
            click.echo("\t".join((*fields, device.description or "")))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("device", style="cyan", no_wrap=True)
    table.add_column("state")
    table.add_column("addresses", no_wrap=True, overflow="fold")
    table.add_column("description", style="dim")
    for device in found:
        style = None if device.flags & DeviceFlags.UP else "dim"
        rows = (device.name, state(device), "\n".join(addresses(device)))
        table.add_row(*rows, device.description or "", style=style)
    console.print(table)


def state(device: Device) -> str:
    """Return what is known of a device's state, in words."""
    flags = device.flags
    words = [_link_state(flags)]
    if flags & DeviceFlags.LOOPBACK:
        words.append("loopback")
    if flags & DeviceFlags.WIRELESS:
        words.append("wireless")
    return ", ".join(words)


def _link_state(flags: DeviceFlags) -> str:
    if not flags & DeviceFlags.UP:
        return "not up"
    # Two bits hold one value of four: unknown, connected, disconnected, not applicable.
    if flags & DeviceFlags.CONNECTION_NOT_APPLICABLE == DeviceFlags.DISCONNECTED:
        return "up, disconnected"
    return "up" if flags & DeviceFlags.RUNNING else "up, not running"


def addresses(device: Device) -> list[str]:
    """Return a device's addresses, IP addresses with the length of their prefix."""
    return [_address(entry) for entry in device.addresses]


def _address(entry: DeviceAddress) -> str:
    ip = ipaddress.IPv4Address | ipaddress.IPv6Address
    if isinstance(entry.address, ip) and isinstance(entry.netmask, ip):
        return f"{entry.address}/{int(entry.netmask).bit_count()}"
    return str(entry.address)
