"""Whatever is done to a capture, in whatever order: no packet is lost or comes twice."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

import aiopcap
from aiopcap import open_live

from .support.frames import number_of, numbered
from .support.veth import Veth
from .support_live import PATIENCE, arrived

pytestmark = pytest.mark.anyio

# Sizes that a frame may have, and which of them a filter lets pass.
SIZES = (60, 100, 200)
FILTERS: dict[str | None, set[int]] = {
    None: {60, 100, 200},
    "less 60": {60},
    "less 100": {60, 100},
    "greater 100": {100, 200},
    "greater 200": {200},
    "ether proto 0x88b5": {60, 100, 200},
}


@dataclass
class Model:
    """What was sent, and what may still come of it.

    Attributes:
        due: Numbers of the packets that passed every filter since they came: they have to come.
        sizes: The sizes of all that were sent.
        seen: Numbers of the packets that came.
    """

    passing: set[int] = field(default_factory=lambda: FILTERS[None])
    due: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def sent(self, size: int) -> bytes:
        number = len(self.sizes)
        self.sizes.append(size)
        if size in self.passing:
            self.due.append(number)
        return numbered(1, size, start=number)[0]

    def filtered(self, expression: str | None) -> None:
        self.passing = FILTERS[expression]
        self.due = [number for number in self.due if self.sizes[number] in self.passing]

    def came(self, packet: aiopcap.Packet) -> None:
        number = number_of(packet.data)
        assert packet.wire_length == self.sizes[number]
        assert self.sizes[number] in self.passing
        assert not self.seen or number > self.seen[-1]
        # Nothing that has to come was left out.
        assert not self.due or number <= self.due[0]
        if self.due and self.due[0] == number:
            self.due.pop(0)
        self.seen.append(number)


class Mixture:
    """A capture, its model, and what can be done to both."""

    def __init__(
        self, veth: Veth, capture: aiopcap.LiveCapture, seed: int, immediate: bool
    ) -> None:
        self.veth = veth
        self.capture = capture
        self.model = Model()
        self.immediate = immediate
        self.random = random.Random(seed)
        self.batches = capture.batches(max_packets=2)

    async def send(self) -> None:
        before = self.capture.statistics().received
        frames = [
            self.model.sent(self.random.choice(SIZES)) for _ in range(self.random.randrange(1, 12))
        ]
        # The kernel counts what passes its filter.
        count = sum(len(data) in self.model.passing for data in frames)
        self.veth.send(frames)
        await arrived(self.capture, before + count)

    async def receive(self) -> None:
        if self.model.due:
            self.model.came(await self.capture.receive())

    async def receive_nowait(self) -> None:
        try:
            self.model.came(self.capture.receive_nowait())
        except anyio.WouldBlock:
            # Without immediate=True the kernel may still be gathering them.
            assert not (self.immediate and self.model.due)

    async def receive_batch(self) -> None:
        if self.model.due:
            for packet in await self.capture.receive_batch():
                self.model.came(packet)

    async def take_batch(self) -> None:
        if self.model.due:
            for packet in await anext(self.batches):
                self.model.came(packet)

    async def loop(self) -> None:
        left = self.random.randrange(1, 5)
        if self.model.due:
            async for packet in self.capture:
                self.model.came(packet)
                left -= 1
                if left == 0 or not self.model.due:
                    break

    async def receive_cancelled(self) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            self.model.came(await self.capture.receive())

    async def set_filter(self) -> None:
        expression = self.random.choice([*FILTERS])
        await self.capture.set_filter(expression)
        self.model.filtered(expression)

    async def set_wrong_filter(self) -> None:
        with pytest.raises(aiopcap.FilterError):
            await self.capture.set_filter("no such thing")

    async def set_filter_cancelled(self) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await self.capture.set_filter("greater 200")

    async def receive_late(self) -> None:
        """A packet, or a change of the filter and then a packet, come while a reader waits."""
        if self.model.due:
            return

        async def read() -> None:
            self.model.came(await self.capture.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await wait_all_tasks_blocked()
            if self.random.random() < 0.5 and not self.model.due:
                await self.set_filter()
            if not self.model.due:
                size = self.random.choice(sorted(self.model.passing))
                self.veth.send(self.model.sent(size))

    async def link(self) -> None:
        self.veth.set_link(False)
        if self.random.random() < 0.5:
            await self.set_filter()
        if self.random.random() < 0.5:
            await self.loop()
        self.veth.set_link(True)

    async def drain(self) -> None:
        while self.model.due:
            self.model.came(await self.capture.receive())

    async def run(self, steps: int) -> None:
        actions = [
            *[self.send] * 6,
            *[self.receive, self.receive_nowait, self.receive_batch, self.take_batch] * 2,
            *[self.loop, self.set_filter] * 2,
            self.receive_cancelled,
            self.set_wrong_filter,
            self.set_filter_cancelled,
            self.receive_late,
            self.link,
            self.drain,
        ]
        for _ in range(steps):
            with anyio.fail_after(PATIENCE):
                await self.random.choice(actions)()
        with anyio.fail_after(PATIENCE):
            await self.drain()
        assert self.capture.statistics().dropped == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("immediate", [False, True])
async def test_any_order_of_uses(veth: Veth, seed: int, immediate: bool) -> None:
    # Short packets, as many more of them have room in the kernel's buffer then.
    snaplen = 1000 if immediate else 262144
    async with await open_live(veth.near, immediate=immediate, snaplen=snaplen) as capture:
        await Mixture(veth, capture, seed, immediate).run(60)
