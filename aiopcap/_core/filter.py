"""Filter expressions, compiled to BPF programs by libpcap."""

import ipaddress
import operator
import threading
from typing import Any, NamedTuple

from aiopcap._core.batch import PacketBatch, RawColumns
from aiopcap._core.columns import Columns
from aiopcap._core.errors import FilterError, text
from aiopcap._core.linktype import COOKED, LinkType
from aiopcap._core.packet import Packet
from aiopcap._native import ffi, lib

MAX_SNAPLEN = 262144

# libpcap's code generator calls itself once for each term, and at some 800 KB leaves the stack.
MAX_EXPRESSION_BYTES = 64 * 1024

# The kernel's loads of what is not in the packet (linux/filter.h).
_LOAD_ABSOLUTE, _WORD, _HALF, _BYTE = 0x20, 0x00, 0x08, 0x10
_ANCILLARY = 2**32 - 0x1000
_CLASS, _LOADS = 0x07, (0x00, 0x01)
_MODE, _PACKET_MODES = 0xE0, (0x20, 0x40, 0xA0)  # absolute, indexed, IPv4 header length
_VLAN_LOADS = (44, 48, 60)

# bpf_image() formats into a static buffer.
_image_lock = threading.Lock()


class Instruction(NamedTuple):
    """One instruction of a BPF program; see bpf(4) for the fields."""

    code: int
    jt: int
    jf: int
    k: int


class Filter:
    """A compiled filter expression (see pcap-filter(7)); make one with `aiopcap.compile`.

    Immutable, and safe to use from several threads.

    Attributes:
        expression: The text that it was compiled from.
        linktype: What the packets begin with that it was compiled for.
        snaplen: The most bytes of a packet that it accepts.
        optimize: Whether libpcap's optimizer ran over it.
        netmask: The IPv4 netmask that "ip broadcast" was compiled with, or None.
    """

    def __init__(
        self,
        expression: str,
        *,
        linktype: LinkType,
        snaplen: int,
        optimize: bool = True,
        netmask: int | None = None,
    ) -> None:
        self.expression: str = expression
        self.linktype: LinkType = linktype
        self.snaplen: int = snaplen
        self.optimize: bool = optimize
        self.netmask: int | None = netmask
        handle = ffi.gc(lib.pcap_open_dead(linktype, snaplen), lib.pcap_close)
        if not handle:
            raise MemoryError("pcap_open_dead failed")
        self._program: Any = compile_program(handle, expression, optimize=optimize, netmask=netmask)
        self._others: dict[LinkType, Filter | None] = {}

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The program."""
        return instructions(self._program)

    def dump(self) -> list[str]:
        """Return the program as text, a line per instruction, as `tcpdump -d` prints it."""
        with _image_lock:
            return [
                text(lib.bpf_image(self._program.bf_insns + number, number))
                for number in range(self._program.bf_len)
            ]

    def matches(
        self, data: bytes | bytearray | memoryview | Packet, wire_length: int | None = None
    ) -> bool:
        """Tell whether a packet passes.

        Args:
            data: The packet's bytes, or a `Packet`.
            wire_length: How many bytes it had on the wire; as many as `data` where not given, or
                the packet's own.
        """
        if wire_length is None and isinstance(data, Packet):
            wire_length = data.wire_length
        if wire_length is not None and not 0 <= wire_length < 2**32:
            raise ValueError(f"wire_length must be within 0…2³²−1 bytes, not {wire_length}")
        with ffi.from_buffer("unsigned char[]", data) as captured:
            length = len(captured) if wire_length is None else wire_length
            return bool(lib.bpf_filter(self._program.bf_insns, captured, length, len(captured)))

    def select(self, batch: PacketBatch) -> PacketBatch:
        """Return a batch, over the same data, of the packets that pass.

        For packets of another link type it is compiled again; where the expression means nothing
        for that, as "ether host" for what has no Ethernet header, none of them passes.
        """
        program = self._program_for(batch.linktype)
        if program is None:
            return batch[:0]
        columns = Columns(len(batch))
        native = columns.native
        source, keep = batch._native()
        ffi.memmove(native.timestamps_ns, source.timestamps_ns, 8 * len(batch))
        for name in RawColumns._fields[1:]:
            if getattr(source, name):
                ffi.memmove(getattr(native, name), getattr(source, name), 4 * len(batch))
        native.count, native.data, native.used = source.count, source.data, source.used
        kept = lib.aiopcap_filter_rows(program, native)
        del keep
        raw = columns.raw(interfaces=bool(source.interfaces), options=bool(source.options_lengths))
        return batch._with_columns(raw, kept)

    def __str__(self) -> str:
        return self.expression

    def __repr__(self) -> str:
        return f"<Filter {self.expression!r} for {self.linktype.name}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore, (self.expression, self._options()))

    def _options(self) -> dict[str, Any]:
        names = ("linktype", "snaplen", "optimize", "netmask")
        return {name: getattr(self, name) for name in names}

    def _program_for(self, linktype: LinkType | None) -> Any:
        # Frames that were not captured do not say what they begin with.
        if linktype is None or linktype == self.linktype:
            return self._program
        if linktype not in self._others:
            try:
                self._others[linktype] = self._adapted(linktype)
            except FilterError:
                self._others[linktype] = None
        other = self._others[linktype]
        return None if other is None else other._program

    def _adapted(self, linktype: LinkType) -> "Filter":
        """Return the filter for packets that begin with something else."""
        if linktype == self.linktype:
            return self
        return Filter(self.expression, **(self._options() | {"linktype": linktype}))


def _restore(expression: str, options: dict[str, Any]) -> Filter:
    return Filter(expression, **options)


class CompiledFilter(NamedTuple):
    """A filter as a source needs it.

    Attributes:
        filter: For packets in memory; None where all pass.
        program: For the source itself; the same but for a live handle.
    """

    filter: Filter | None
    program: Any

    @property
    def asks_kernel(self) -> bool:
        """Whether the program asks for what only the kernel knows of a packet.

        "inbound" loads the packet's type from beyond its bytes. libpcap's interpreter knows of
        such loads those for VLAN tags only, and lets no packet pass at any other.
        """
        return any(
            code == _LOAD_ABSOLUTE | size and k >= _ANCILLARY and k - _ANCILLARY not in _VLAN_LOADS
            for code, _, _, k in instructions(self.program)
            for size in (_WORD, _HALF, _BYTE)
        )

    @property
    def reach(self) -> int:
        """How many bytes from a packet's start on the program may look at.

        Where a load's place depends on a header's length, that is taken to be 64 bytes, as much
        as the longest of IPv4 and TCP have.
        """
        reach = 0
        for code, _, _, k in instructions(self.program):
            mode = code & _MODE
            if code & _CLASS in _LOADS and mode in _PACKET_MODES and k < _ANCILLARY:
                reach = max(reach, k + 4 + (0 if mode == _LOAD_ABSOLUTE else 64))
        return reach

    def is_for_kernel(self, linktype: LinkType, snaplen: int) -> bool:
        """Whether the kernel alone must run the program, on what a live handle captures.

        libpcap runs each new filter itself over what the ring holds, and at the least over its
        next block. A program that asks for what is not in the packet, or looks behind where the
        snaplen cut it, would lose all of that. Run by the kernel alone, what came before is not
        shown, as nobody can judge it. (In the cooked formats everything is in the packet, and
        libpcap adapts the program for the kernel.)
        """
        if self.filter is None or linktype in COOKED:
            return False
        return self.asks_kernel or self.reach > snaplen


def as_filter(filter: str | Filter, linktype: LinkType, snaplen: int) -> Filter:
    """Return what a caller gave as a filter for packets in memory."""
    if isinstance(filter, Filter):
        return filter._adapted(linktype)
    return Filter(filter, linktype=linktype, snaplen=snaplen)


def instructions(program: Any) -> tuple[Instruction, ...]:
    """Return the instructions of a `struct bpf_program *`."""
    rows = program.bf_insns[0 : program.bf_len]
    return tuple(Instruction(row.code, row.jt, row.jf, row.k) for row in rows)


def compile_program(
    handle: Any, expression: str, *, optimize: bool = True, netmask: int | None = None
) -> Any:
    """Compile for a handle; returns a `struct bpf_program *` that frees itself.

    Raises:
        FilterError: If the expression does not compile.
    """
    if not isinstance(expression, str):
        raise TypeError(f"a filter is a str or a Filter, not {type(expression).__name__}")
    if "\0" in expression:
        raise FilterError("a filter expression cannot contain a NUL character")
    try:
        source = expression.encode()
    except UnicodeEncodeError as exc:
        raise FilterError(f"a filter expression must be valid text: {exc}") from None
    if len(source) > MAX_EXPRESSION_BYTES:
        raise FilterError(
            f"a filter expression of {len(source)} bytes is too long; {MAX_EXPRESSION_BYTES} is "
            "the limit"
        )
    program = ffi.new("struct bpf_program *")
    mask = lib.PCAP_NETMASK_UNKNOWN if netmask is None else netmask
    if lib.pcap_compile(handle, program, source, optimize, mask) < 0:
        raise FilterError(text(lib.pcap_geterr(handle)))
    return ffi.gc(program, lib.pcap_freecode)


def compile(
    expression: str,
    *,
    linktype: LinkType | int = LinkType.EN10MB,
    snaplen: int = MAX_SNAPLEN,
    optimize: bool = True,
    netmask: str | int | None = None,
) -> Filter:
    """Compile a filter expression (pcap_compile(3PCAP); the language is pcap-filter(7)).

    Safe to call from several threads. Host names in the expression are looked up, and until the
    answer comes the call blocks: with such an expression, call it in a worker thread
    (`anyio.to_thread.run_sync`), or hand the text to `open_live`, `open_offline` or
    `set_filter`, which do.

    Args:
        expression: The text; "" passes every packet.
        linktype: What the packets begin with.
        snaplen: The most bytes of a packet that are accepted.
        optimize: Whether to run libpcap's optimizer.
        netmask: The IPv4 netmask of the network, in dotted form or as 0xffffff00; needed for
            "ip broadcast" only.

    Raises:
        FilterError: If the expression does not compile, with libpcap's words.
        ValueError: If snaplen is outside 1…2³¹−1.
    """
    check_snaplen(snaplen)
    if isinstance(netmask, int) and not 0 <= netmask < 2**32:
        raise ValueError(f"netmask must have 32 bits, not {netmask}")
    if isinstance(netmask, str):
        netmask = int(ipaddress.IPv4Address(netmask))
    return Filter(
        expression,
        linktype=LinkType(linktype),
        snaplen=snaplen,
        optimize=optimize,
        netmask=netmask,
    )


def check_snaplen(snaplen: int) -> None:
    """Raise ValueError for a snaplen that libpcap would refuse or replace."""
    if not 1 <= operator.index(snaplen) <= 2**31 - 1:
        raise ValueError(f"snaplen must be within 1…{2**31 - 1} bytes, not {snaplen}")
