"""A live, activated, non-blocking libpcap handle."""

import os
import threading
import time
from bisect import bisect_left
from collections import deque
from typing import Any

from aiopcap._core.batch import PacketBatch, RawData
from aiopcap._core.columns import Columns, new_uncleared
from aiopcap._core.errors import (
    InterfaceGoneError,
    PcapError,
    copy_of,
    error_from_status,
    printable,
    text,
)
from aiopcap._core.filter import CompiledFilter, Filter, as_filter, compile_program
from aiopcap._core.gathering import Gathering
from aiopcap._core.interfaces import Interface
from aiopcap._core.linktype import LinkType
from aiopcap._core.livehandle import check, interface_name, open_handle
from aiopcap._core.liveoptions import CaptureStatistics, LiveOptions
from aiopcap._core.resource import Resource
from aiopcap._native import ffi, lib

# How often to read before a filter is set; a flood must not keep that from happening.
EARLY_READS = 8

# Seconds after the buffer timeout until the kernel's timer has surely run.
GONE_GRACE = 0.02

# While a device is down its removal is reported by nothing, and libpcap asks to be called every
# millisecond. A quarter of a second finds out soon enough, and costs nothing.
SHORTEST_POLL = 0.05
LONGEST_POLL = 0.25

# The most packets of a batch, and the bytes that batches are cut from. Larger, and a batch that is
# kept keeps more; smaller, and memory is asked for more often.
BATCH_PACKETS = 4096
ARENA_BYTES = 256 * 1024

# A call needs room for one packet of any size behind the last one (aiopcap_read_live).
LEAST_ROOM = 64 * 1024


class LiveSource:
    """One pcap_t of a device, from activation to its close.

    One thread at a time is let in, for as long as a call takes, or longer: `turn` is a lock. Only
    `compile` runs beside the others: of a handle it changes nothing but the error text.
    """

    checksum_bits = 0  # only savefiles say it

    def __init__(self, device: str, options: LiveOptions, filter: str | Filter | None) -> None:
        self.device = device
        self.turn: threading.RLock = threading.RLock()
        self.warnings: list[str]
        self._handle, self.warnings = open_handle(device, options)
        self.resource: Resource = Resource(f"the capture on {device}", self._release, self._abandon)
        try:
            self._prepare(options)
            self.filter: Filter | None = None
            if filter is not None:
                self.set_filter(self.compile(filter))
        except BaseException:
            self.close()
            raise

    # -- opening ---------------------------------------------------------------------------------

    def _check(self, status: int) -> None:
        check(self._handle, self.device, status)

    def _prepare(self, options: LiveOptions) -> None:
        handle = self._handle
        self._fd: int = lib.pcap_get_selectable_fd(handle)
        nano = lib.pcap_get_tstamp_precision(handle) == lib.PCAP_TSTAMP_PRECISION_NANO
        self._ns_per_fraction = 1 if nano else 1000
        self._totals, self._seen = [0, 0, 0], [0, 0, 0]
        self._delivered = 0
        self._host_clock = "adapter" not in (options.timestamp_type or "")
        self._not_before_ns = 0
        self._not_before_until = 0.0
        self._early: deque[PacketBatch] = deque()
        self._returned: list[PacketBatch] = []
        self._polled = 0
        self._failure: PcapError | None = None
        self._suspect = False
        self._last_block_at = 0.0
        self._buffer_timeout = options.buffer_timeout
        self._blocks = not options.immediate
        self._interfaces: dict[int, str] = {}
        self._room = 0
        self._gathering = Gathering(0 if options.immediate else options.buffer_bytes)
        self._arena: Any = b""
        self._columns = Columns(BATCH_PACKETS)
        if self.device == "any" and LinkType.LINUX_SLL2 in self.datalinks():
            # The older cooked header does not say which device a packet came from.
            self.set_datalink(LinkType.LINUX_SLL2)
        self._read_shape()

    def _read_shape(self) -> None:
        self.linktype: LinkType = LinkType(lib.pcap_datalink(self._handle))
        self.snaplen: int = lib.pcap_snapshot(self._handle)

    @property
    def handle(self) -> Any:
        """The pcap_t, for use inside a lease of `resource`."""
        return self._handle

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The device, unless packets say themselves which one they came from."""
        known = Interface(
            self.device,
            section=0,
            linktype=self.linktype,
            snaplen=self.snaplen,
            filter=None if self.filter is None else self.filter.expression,
        )
        return () if self.device == "any" else (known,)

    # -- reading ---------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1 where there is none."""
        with self.resource:
            return self._fd

    def readiness(self) -> tuple[int, float | None]:
        """Return the descriptor to wait on, and how many seconds one wait may take.

        The time is None where readiness is always reported. It changes: on Linux it appears when
        the device goes down, as nothing reports its removal.
        """
        with self.resource, self.turn:
            if self._failure is not None or self._suspect:
                return self._fd, SHORTEST_POLL
            timeout = lib.pcap_get_required_select_timeout(self._handle)
            if not timeout:
                return self._fd, None
            seconds = timeout.tv_sec + timeout.tv_usec / 1e6
            return self._fd, min(max(seconds, SHORTEST_POLL), LONGEST_POLL)

    def pause(self) -> float:
        """Return how many seconds to let packets gather before the next wait; mostly none.

        Asked once before each wait.
        """
        return self._gathering.pause()

    def read_batch(self, max_packets: int = BATCH_PACKETS) -> PacketBatch | None:
        """Return the packets that are ready, at most so many, or None.

        Raises:
            InterfaceGoneError: If the device was removed, after its last packets.
            PcapError: If libpcap failed otherwise; the handle is of no more use.
        """
        with self.resource, self.turn:
            if self._returned:
                return self._returned.pop()
            while self._early:
                early = self._early.popleft()
                if kept := early if self.filter is None else self.filter.select(early):
                    return kept
            batch = self._read(max_packets)
            # Not for long: a clock that was set back must not hide what comes.
            if time.monotonic() >= self._not_before_until:
                self._not_before_ns = 0
            while batch is not None and self._not_before_ns:
                late = bisect_left(batch.timestamps_ns, self._not_before_ns)
                if late < len(batch):
                    self._not_before_ns = 0
                    return batch[late:]
                batch = self._read(max_packets)
            return batch

    def record(self, out: Any, size: int, *, nanoseconds: bool) -> tuple[int, int]:
        """Write packets that are ready as records of a pcap file, without a batch in between.

        Nothing is written where only `read_batch` knows what to do: of packets that were read
        before, after some filters, and when the device may be gone.

        Args:
            out: Where to, with room for `LEAST_ROOM` and a packet of the snaplen.
            size: How many bytes of room that is.
            nanoseconds: Whether the file's time stamps count them, or microseconds.

        Returns:
            How many packets, and how many bytes their records have.
        """
        count, used = ffi.new("uint32_t *"), ffi.new("size_t *")
        with self.resource, self.turn:
            if self.has_early or self._not_before_ns or self._suspect or self._failure:
                return 0, 0
            precision = (self._ns_per_fraction, nanoseconds)
            status = lib.aiopcap_record_live(
                self._handle, out, size, BATCH_PACKETS, *precision, count, used
            )
            self._note(count[0], used[0])
            if status < 0:
                self._fail_by(status)
            return count[0], used[0]

    def put_back(self, batch: PacketBatch) -> None:
        """Have `read_batch` return packets again that it returned, before all others."""
        with self.turn:
            self._returned.append(batch)

    def unread(self) -> int:
        """Return how many packets wait to be read, or a few more: the kernel may count twice."""
        with self.turn:
            return self._unread() + sum(map(len, (*self._returned, *self._early)))

    def _read(self, max_packets: int) -> PacketBatch | None:
        if self._failure is not None and time.monotonic() >= self._last_block_at:
            raise copy_of(self._failure)
        columns = self._columns.native
        if self._room < LEAST_ROOM + self.snaplen:
            self._take_arena()
        start = len(self._arena) - self._room
        columns.data = self._memory + start
        columns.size = self._room
        status = lib.aiopcap_read_live(self._handle, columns, max_packets, self._ns_per_fraction)
        if status < 0 and self._failure is None:
            self._fail_by(status)
            if columns.count == 0:
                return self._read(max_packets)
        if columns.count == 0 and self._suspect and self._failure is None:
            self._look_at_link()
        return self._batch(start) if columns.count else None

    def _take_arena(self) -> None:
        # Batches refer to it, one behind the other, so it is never written twice.
        self._room = ARENA_BYTES + self.snaplen
        self._memory: Any = new_uncleared("uint8_t[]", self._room)
        self._arena = ffi.buffer(self._memory, self._room)

    def _fail_by(self, status: int) -> None:
        self._fail(error_from_status(status, text(lib.pcap_geterr(self._handle)), self.device))

    def _fail(self, failure: PcapError) -> None:
        self._failure = failure
        self._last_block_at = time.monotonic()
        if isinstance(failure, InterfaceGoneError) and self._blocks and self._unread():
            # The last packets lie in a block of the ring that the kernel is still filling; it
            # hands it over when the buffer timeout ends, whether the device is there or not.
            self._last_block_at += self._buffer_timeout + GONE_GRACE

    def suspect_link(self) -> None:
        """Look at the device itself from now on, until it is up: who sends met it down or gone.

        The kernel reports that once for each socket, to whoever comes first, and libpcap counts on
        being the first.
        """
        self._suspect = True

    def _look_at_link(self) -> None:
        state = lib.aiopcap_link_state(self._fd)
        self._suspect = state == 0
        if state < 0:
            self._fail(InterfaceGoneError(f"{printable(self.device)}: The interface disappeared"))

    def _unread(self) -> int:
        counters = self.statistics()
        return max(0, counters.received - counters.dropped - self._delivered)

    def _note(self, packets: int, nbytes: int) -> None:
        self._gathering.count(packets, nbytes)
        self._delivered += packets
        if self._delivered - self._polled > 2**30:
            self.statistics()

    def _batch(self, start: int) -> PacketBatch:
        columns = self._columns.native
        self._room -= columns.used
        self._note(columns.count, columns.used)
        interface: dict[int, str] | str = self.device
        if self.linktype is LinkType.LINUX_SLL2:
            interface = self._interfaces
            for number in self._columns.interface_numbers().difference(interface):
                interface[number] = interface_name(number)
        return self._columns.batch(
            RawData(self._arena, start, columns.used), self.linktype, interface
        )

    # -- the rest --------------------------------------------------------------------------------

    def compile(self, filter: str | Filter | None) -> CompiledFilter:
        """Compile for this handle; may block on host names.

        Some expressions ("vlan", "inbound") compile to other programs for a live handle, which
        ask the kernel for what is no longer in the packet, than for packets in memory. Both are
        needed: the first for the kernel, the second for packets that were read already.
        """
        with self.resource:
            if filter is None:
                return CompiledFilter(None, compile_program(self._handle, ""))
            plain = as_filter(filter, self.linktype, self.snaplen)
            program = compile_program(
                self._handle, plain.expression, optimize=plain.optimize, netmask=plain.netmask
            )
            return CompiledFilter(plain, program)

    def set_filter(self, compiled: CompiledFilter) -> None:
        """Let only matching packets pass from now on, those in the kernel's buffer included."""
        with self.resource, self.turn:
            self._read_early()
            try:
                self._install(compiled)
            except PcapError:
                # A link that went down in between left its error for whoever reads next.
                self._read_early()
                self._install(compiled)
            self.filter = compiled.filter
            self._early.extendleft(self._returned)
            self._returned.clear()
            if compiled.is_for_kernel(self.linktype, self.snaplen):
                self._early.clear()

    def _read_early(self) -> None:
        """Read what is there, for `read_batch` to filter and return.

        libpcap notices by reading that a link is down, and changes its ways. Setting a filter, it
        meets the same error without knowing it.
        """
        while len(self._early) < EARLY_READS:
            batch = self._read(BATCH_PACKETS)
            if batch is None:
                break
            self._early.append(batch)

    def _install(self, compiled: CompiledFilter) -> None:
        if not compiled.is_for_kernel(self.linktype, self.snaplen):
            self._check(lib.pcap_setfilter(self._handle, compiled.program))
            return
        everything = compile_program(self._handle, "")
        self._check(lib.pcap_setfilter(self._handle, everything))
        error = lib.aiopcap_attach_filter(self._fd, compiled.program)
        if error:
            raise PcapError(f"{self.device}: cannot set the filter: {os.strerror(error)}")
        if self._host_clock:
            self._not_before_ns = time.time_ns()
            self._not_before_until = time.monotonic() + 1

    @property
    def has_early(self) -> bool:
        """Whether packets were read that no descriptor tells of any more."""
        return bool(self._early or self._returned)

    def passing(self, batch: PacketBatch) -> PacketBatch:
        """Return all of it: what does not match was not read."""
        return batch

    def statistics(self) -> CaptureStatistics:
        """Return the counters."""
        with self.resource, self.turn:
            counters = ffi.new("struct pcap_stat *")
            self._check(lib.pcap_stats(self._handle, counters))
            now = [counters.ps_recv, counters.ps_drop, counters.ps_ifdrop]
            for i, (old, new) in enumerate(zip(self._seen, now, strict=True)):
                self._totals[i] += (new - old) % 2**32
            self._seen = now
            self._polled = self._delivered
            return CaptureStatistics(*self._totals)

    def datalinks(self) -> list[LinkType]:
        """Return the link types that the device can deliver."""
        with self.resource, self.turn:
            array = ffi.new("int **")
            count = lib.pcap_list_datalinks(self._handle, array)
            self._check(min(count, 0))
            try:
                return [LinkType(array[0][i]) for i in range(count)]
            finally:
                lib.pcap_free_datalinks(array[0])

    def set_datalink(self, linktype: LinkType) -> None:
        """Choose one of them."""
        with self.resource, self.turn:
            self._check(lib.pcap_set_datalink(self._handle, linktype))
            self._read_shape()

    def close(self) -> None:
        """Close the handle, and give its memory back. Idempotent."""
        self.resource.close()

    def _release(self) -> None:
        handle, self._handle = self._handle, ffi.NULL
        lib.pcap_close(handle)

    def _abandon(self) -> None:
        # In a fork: give up this process's descriptor and nothing else. pcap_close would also
        # undo what the parent still uses, such as monitor mode.
        if self._fd >= 0:
            os.close(self._fd)
