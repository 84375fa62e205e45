import signal
import sys

import anyio
from anyio.abc import TaskStatus

import aiopcap


class Monitor:
    """Counts packets by protocol for as long as it runs."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.counts = {"ip": 0, "ip6": 0, "other": 0}
        self.dropped = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with await aiopcap.open_live(self.device, snaplen=64) as capture:
            task_status.started()
            try:
                async for packet in capture:
                    ethertype = packet.data[12:14]
                    kind = {b"\x08\x00": "ip", b"\x86\xdd": "ip6"}.get(ethertype, "other")
                    self.counts[kind] += 1
            finally:
                self.dropped = capture.statistics().dropped


async def report(monitor: Monitor, every: float) -> None:
    while True:
        await anyio.sleep(every)
        print(monitor.counts, flush=True)


async def main(device: str, every: float = 10) -> None:
    monitor = Monitor(device)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            await tasks.start(monitor.run)
            tasks.start_soon(report, monitor, every)
            print("ready", flush=True)
            async for _ in signals:
                tasks.cancel_scope.cancel()
                break
    print("in all:", monitor.counts, "dropped:", monitor.dropped)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
