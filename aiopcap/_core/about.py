"""What is installed."""

from aiopcap._core.errors import text
from aiopcap._native import lib


def libpcap_version() -> str:
    """Return libpcap's own words on its version and its platform's features."""
    return text(lib.pcap_lib_version())
