"""Run the benchmarks: ``python -m benchmarks [--quick] [NAME...]``."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import aiopcap
from benchmarks import (
    copying,
    dumping,
    fairness,
    latency,
    live,
    memory,
    reading,
    replaying,
    sending,
)
from benchmarks.report import Result, print_results
from benchmarks.run import Settings
from tests.support.privileges import reason_without_net

BENCHMARKS: dict[str, Callable[[Settings], list[Result]]] = {
    "reading": reading.run,
    "live": live.run,
    "latency": latency.run,
    "fairness": fairness.run,
    "memory": memory.run,
    "copying": copying.run,
    "dumping": dumping.run,
    "sending": sending.run,
    "replaying": replaying.run,
}
_NEED_HOSTS = {"live", "latency", "fairness", "dumping", "sending", "replaying"}

_QUIET = 0.5  # load average below which the machine has nothing else to do


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="less of everything, rougher numbers")
    parser.add_argument(
        "--folder", type=Path, help="where the savefiles go while they are used (up to 2.2 GB)"
    )
    options = parser.parse_args()
    for name in options.name:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is called {name}")

    print(
        f"aiopcap {aiopcap.__version__}, {aiopcap.libpcap_version()}\n"
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} processors"
    )
    load = os.getloadavg()[0]
    if load > _QUIET:
        print(f"load average {load:.1f}: something else is running, which every number will show")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="aiopcap-bench-", dir=options.folder) as folder:
        settings = Settings(Path(folder), options.quick)
        for name in options.name or BENCHMARKS:
            reason = reason_without_net() if name in _NEED_HOSTS else None
            if reason is None:
                results += BENCHMARKS[name](settings)
            else:
                print(f"\n{name}: left out, {reason}")
    print_results(results)


if __name__ == "__main__":
    main()
