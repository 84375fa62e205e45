"""Asking the system about its devices, in a worker thread."""

from ipaddress import IPv4Network

from anyio import to_thread

from aiopcap._core import devices
from aiopcap._core.devices import Device


async def findalldevs() -> list[Device]:
    """List the devices that can be captured from (pcap_findalldevs(3PCAP)).

    Without privilege it lists what can be seen, not what can be opened.

    Raises:
        PcapError: If the system could not be asked.
    """
    return await to_thread.run_sync(devices.findalldevs, abandon_on_cancel=True)


async def lookupnet(device: str) -> IPv4Network:
    """Return a device's IPv4 network (pcap_lookupnet(3PCAP)).

    Raises:
        NoSuchDeviceError: If no device can have that name.
        PcapError: If it has no IPv4 address, or does not exist.
    """
    return await to_thread.run_sync(devices.lookupnet, device, abandon_on_cancel=True)
