"""Two hosts joined by a cable, a sender on the far one and a measured receiver on the near one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import NamedTuple

from benchmarks.run import Report, compile_c
from tests.support.frames import frame
from tests.support.veth import Veth, veth_pair

__all__ = ["Flood", "Hosts", "hosts"]

_GRACE = 1.0  # seconds that a receiver gets to take what is left in its buffer
_NUDGE = 0.01  # seconds between packets that wake a receiver which has lost some


class Flood(NamedTuple):
    """What came of a flood."""

    receiver: Report
    sender: Report
    lost: int  # packets that reached the device and not the receiver


class Hosts:
    """A quiet link; a flood comes from the far end."""

    def __init__(self, pair: Veth, sender: str) -> None:
        self._pair = pair
        self._sender = sender
        self.device = pair.near

    def flood(
        self, receiver: list[str], count: int, kind: str, *, gap_us: int | None = None
    ) -> Flood:
        """Send to a receiver that was started for it.

        Args:
            receiver: Command line of a program that prints ``ready``, then its report; it ends by
                itself when all packets have come, and otherwise when it gets a line.
            count: How many packets to send.
            kind: ``small`` or ``imix``.
            gap_us: Time between two packets, in microseconds; without it, as fast as possible.
        """
        pace = [] if gap_us is None else [str(gap_us)]
        before = self._pair.counters("near").rx_packets
        with subprocess.Popen(
            receiver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{receiver} did not start")
            argv = [self._sender, self._pair.far, str(count), kind, *pace]
            sender = subprocess.run(
                self._pair.far_namespace.command(*argv),
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            arrived = self._pair.counters("near").rx_packets - before
            nudges = 0
            if not select([process.stdout], [], [], _GRACE)[0]:
                process.stdin.write("stop\n")
                process.stdin.flush()
                # Receivers that block in libpcap look up only when packets come, or never.
                while not select([process.stdout], [], [], _NUDGE)[0]:
                    nudges += self._pair.send([frame()] * 500)
            report: Report = json.loads(process.stdout.readline())
        return Flood(report, json.loads(sender.stdout), int(arrived + nudges - report["packets"]))


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    """Make the hosts and compile the sender."""
    sender = compile_c("flood", folder)
    with veth_pair() as pair:
        yield Hosts(pair, sender)
