"""Packet capture, filters and dump files for async Python, on libpcap.

The house has four floors, and imports only go down:

3  this facade: every public name, re-exported; and tools built on it (`aiopcap.cli`)
2  `_streams`: captures and dumpers as anyio streams; it waits, and nothing else
1  `_core`: synchronous and never waiting; packets, batches, filters, devices, files, errors
0  `_native`: all the C, compiled; exports `ffi` and `lib`

Only `_core` sees `ffi` and `lib`, only `_streams` sees anyio; tests/test_import_floors.py keeps it
so.
"""

from importlib.metadata import version as _version

from aiopcap._core.about import libpcap_version
from aiopcap._core.batch import PacketBatch
from aiopcap._core.constants import (
    DeviceFlags,
    Direction,
    FanoutFlag,
    FanoutMode,
    SourceType,
    TimestampType,
)
from aiopcap._core.devices import Device, DeviceAddress
from aiopcap._core.errors import (
    FilterError,
    FrameSizeError,
    InterfaceDownError,
    InterfaceGoneError,
    MissingExtraError,
    NoSuchDeviceError,
    PcapError,
    PcapWarning,
    PermissionDeniedError,
    QueueFullError,
    SavefileError,
    SavefileWriteError,
    SendError,
    TruncatedSavefileError,
)
from aiopcap._core.filter import Filter, Instruction, compile
from aiopcap._core.interfaces import Interface, InterfaceStatistics, Section
from aiopcap._core.linktype import LinkType
from aiopcap._core.livedump import DumpReport
from aiopcap._core.liveoptions import CaptureStatistics
from aiopcap._core.options import Option
from aiopcap._core.packet import Packet
from aiopcap._core.rotation import Rotation
from aiopcap._core.sourcestring import SourceString
from aiopcap._core.transmission import TransmitReport
from aiopcap._streams.capture import Capture
from aiopcap._streams.devices import findalldevs, lookupnet
from aiopcap._streams.dumper import Dumper, dump_open
from aiopcap._streams.live import LiveCapture, open_live
from aiopcap._streams.livedump import LiveDump
from aiopcap._streams.merge import Merge, merge
from aiopcap._streams.offline import OfflineCapture, open_offline
from aiopcap._streams.opening import open
from aiopcap._streams.packetstream import PacketStream
from aiopcap._streams.replay import replay
from aiopcap._streams.sendqueue import SendQueue

__version__ = _version("aiopcap")

__all__ = [  # noqa: RUF022 - grouped by subject, not by letter
    # capturing
    "open",
    "open_live",
    "open_offline",
    "PacketStream",
    "Capture",
    "LiveCapture",
    "OfflineCapture",
    "merge",
    "Merge",
    "CaptureStatistics",
    # packets
    "Packet",
    "PacketBatch",
    "LinkType",
    # filters
    "compile",
    "Filter",
    "Instruction",
    # dump files
    "dump_open",
    "Dumper",
    "Interface",
    "InterfaceStatistics",
    "Option",
    "Section",
    "Rotation",
    "LiveDump",
    "DumpReport",
    # sending
    "SendQueue",
    "replay",
    "TransmitReport",
    # devices
    "findalldevs",
    "lookupnet",
    "Device",
    "DeviceAddress",
    "DeviceFlags",
    # source strings
    "SourceString",
    "SourceType",
    # options
    "Direction",
    "FanoutFlag",
    "FanoutMode",
    "TimestampType",
    # errors
    "PcapError",
    "FilterError",
    "InterfaceDownError",
    "InterfaceGoneError",
    "NoSuchDeviceError",
    "PermissionDeniedError",
    "FrameSizeError",
    "SendError",
    "QueueFullError",
    "SavefileError",
    "SavefileWriteError",
    "TruncatedSavefileError",
    "MissingExtraError",
    "PcapWarning",
    # versions
    "__version__",
    "libpcap_version",
]

# Tracebacks, pickles and the documentation name things where users import them from.
for _name in __all__:
    _object = globals()[_name]
    if getattr(_object, "__module__", "").startswith("aiopcap."):
        _object.__module__ = __name__
del _name, _object
