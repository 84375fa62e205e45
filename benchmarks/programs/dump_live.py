"""Write what a device receives to a savefile, and say what that cost.

usage: python -m benchmarks.programs.dump_live asyncio|trio|tcpdump DEVICE COUNT FILE

Prints ``ready`` when capturing has begun. Ends when COUNT packets are in the file or a line comes
on the standard input, and prints what was spent on the processor in between.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import anyio

import aiopcap


def _report(packets: int, cpu: float, dropped: int) -> None:
    print(json.dumps({"packets": packets, "cpu": cpu, "dropped": dropped}), flush=True)


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _aiopcap(device: str, count: int, path: str) -> None:
    async with await aiopcap.open_live(device) as capture:
        async with await capture.live_dump(path, max_packets=count) as dump:
            print("ready", flush=True)
            cpu = _own_cpu()
            async with anyio.create_task_group() as tasks:

                async def stop_on_input() -> None:
                    await anyio.wait_readable(sys.stdin)
                    await dump.stop()

                tasks.start_soon(stop_on_input)
                report = await dump.wait()
                tasks.cancel_scope.cancel()
            cpu = _own_cpu() - cpu
        _report(report.packets, cpu, capture.statistics().dropped)


def _cpu_of(pid: int) -> float:
    # In nanoseconds, where times(2) counts ticks of 10 ms.
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _number_before(words: str, lines: list[str]) -> int:
    return next(int(line.split()[0]) for line in lines if words in line)


def _tcpdump(device: str, count: int, path: str) -> None:
    program = shutil.which("tcpdump") or "/usr/sbin/tcpdump"
    keep_user = ["-Z", "root"] if os.geteuid() == 0 else []
    argv = [program, *keep_user, "-n", "-i", device, "-c", str(count), "-w", path]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening on" not in process.stderr.readline():
            pass
        print("ready", flush=True)
        cpu = _cpu_of(process.pid)
        poll = select.poll()
        poll.register(process.stderr, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        if any(fd == sys.stdin.fileno() for fd, _ in poll.poll()):
            process.send_signal(signal.SIGINT)
        # Ended, and still to be asked what it took.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        cpu = _cpu_of(process.pid) - cpu
        told = process.stderr.read().splitlines()
    packets = _number_before("captured", told)
    _report(packets, cpu, _number_before("dropped by kernel", told))


def main() -> None:
    way, device, count, path = sys.argv[1:]
    if way == "tcpdump":
        _tcpdump(device, int(count), path)
    else:
        anyio.run(_aiopcap, device, int(count), path, backend=way)


if __name__ == "__main__":
    main()
