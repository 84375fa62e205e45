"""A quiet cable whose near end frames are sent into, and what its far end says about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.run import Report
from tests.support.frames import frame
from tests.support.veth import Veth, veth_pair

__all__ = ["Wire", "wire"]

_PATIENCE = 10.0  # seconds that a new cable gets until it carries frames
_PROBE_PAUSE = 0.01


class Wire:
    """Counts what arrives.

    Attributes:
        pair: Both ends.
        device: Name of the near one.
    """

    def __init__(self, pair: Veth) -> None:
        self.pair = pair
        self.device = pair.near

    def arrived(self) -> int:
        """How many frames have come out at the far end."""
        return self.pair.counters("far").rx_packets

    def send(self, send: Callable[[], Report]) -> Report:
        """Have somebody send, and add to the report how many packets of it did not arrive."""
        before = self.arrived()
        report = send()
        return {**report, "lost": report["packets"] - (self.arrived() - before)}


@contextmanager
def wire() -> Iterator[Wire]:
    """Lay a cable, and wait until it carries what is sent through the device's queue.

    The kernel attaches that queue up to a second after the link has come up. Until then it drops
    what it is given, without a word to the sender and in less time than sending takes.
    """
    with veth_pair() as pair, pair.packet_socket("near") as probe:
        link = Wire(pair)
        deadline = time.monotonic() + _PATIENCE
        while link.arrived() == 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{link.device} carries nothing")
            probe.send(frame())
            time.sleep(_PROBE_PAUSE)
        yield link
