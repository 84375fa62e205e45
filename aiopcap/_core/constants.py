"""The small enumerations of the public interface."""

from enum import IntEnum, IntFlag, StrEnum


class Direction(StrEnum):
    """Which packets of a device are captured: received, sent, or both."""

    INOUT = "inout"
    IN = "in"
    OUT = "out"


class TimestampType(StrEnum):
    """Where a packet's time stamp is taken, by libpcap's names; see pcap-tstamp(7)."""

    HOST = "host"
    HOST_LOWPREC = "host_lowprec"
    HOST_HIPREC = "host_hiprec"
    HOST_HIPREC_UNSYNCED = "host_hiprec_unsynced"
    ADAPTER = "adapter"
    ADAPTER_UNSYNCED = "adapter_unsynced"


class FanoutMode(IntEnum):
    """How the kernel shares packets out among the captures of one fanout group; see packet(7)."""

    HASH = 0
    LOAD_BALANCE = 1
    CPU = 2
    ROLLOVER = 3
    RANDOM = 4
    QUEUE_MAPPING = 5


class FanoutFlag(IntFlag):
    """Options of a fanout group, or'ed to a `FanoutMode`; see packet(7)."""

    ROLLOVER = 0x1000
    UNIQUE_ID = 0x2000
    DEFRAGMENT = 0x8000


class DeviceFlags(IntFlag):
    """What is known of a capture device; see pcap_findalldevs(3PCAP)."""

    LOOPBACK = 0x01
    UP = 0x02
    RUNNING = 0x04
    WIRELESS = 0x08
    CONNECTED = 0x10
    DISCONNECTED = 0x20
    CONNECTION_NOT_APPLICABLE = 0x30


class SourceType(IntEnum):
    """What a source string names, by WinPcap's numbers (``PCAP_SRC_…``)."""

    FILE = 2
    LOCAL = 3
    REMOTE = 4
