"""Asking the system about its devices and its savefiles, in a worker thread."""

import threading
from ipaddress import IPv4Network

from anyio import to_thread

from aiopcap._core import devices
from aiopcap._core.constants import SourceType
from aiopcap._core.devices import Device
from aiopcap._core.errors import printable
from aiopcap._core.folder import savefiles_in
from aiopcap._core.sourcestring import Source, as_source


async def findalldevs(source: Source | None = None) -> list[Device]:
    """List the devices that can be captured from, or the savefiles in a folder.

    Without privilege it lists what can be seen, not what can be opened.

    With a source, the names are source strings for `open`, and the descriptions say what kind of
    source it is (pcap_findalldevs_ex).

    Args:
        source: None for this host's devices by their names (pcap_findalldevs(3PCAP)),
            ``rpcap://`` for the same as source strings; ``file://folder`` or the path of a folder
            for the savefiles in it, sorted by name, not those in the folders below. A file is one
            when its header can be read within its first MiB; others are left out.

    Raises:
        PcapError: If the system could not be asked.
        OSError: If the folder cannot be read (`FileNotFoundError`, `NotADirectoryError`, …).
        ValueError: If it is not a source string, names a device, or has no path.
        NotImplementedError: If the source is on another host (``rpcap://host/``).
    """
    if source is None:
        return await to_thread.run_sync(devices.findalldevs, abandon_on_cancel=True)
    named = as_source(source)
    if named.type is SourceType.LOCAL:
        if named.name:
            raise ValueError(
                f"{printable(named.name)} is a device's name: list all with 'rpcap://', the"
                f" savefiles of a folder with 'file://{printable(named.name)}'"
            )
        found = await to_thread.run_sync(devices.findalldevs, abandon_on_cancel=True)
        return [devices.as_source_string(device) for device in found]
    if not named.name:
        raise ValueError("file:// names no folder")
    abandoned = threading.Event()
    try:
        return await to_thread.run_sync(savefiles_in, named.name, abandoned, abandon_on_cancel=True)
    finally:
        abandoned.set()


async def lookupnet(device: str) -> IPv4Network:
    """Return a device's IPv4 network (pcap_lookupnet(3PCAP)).

    Raises:
        NoSuchDeviceError: If no device can have that name.
        PcapError: If it has no IPv4 address, or does not exist.
    """
    return await to_thread.run_sync(devices.lookupnet, device, abandon_on_cancel=True)
