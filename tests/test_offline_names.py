"""Host names in filters of savefiles: while one is looked up, everything else goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import run_python
from tests.support.witnesses import require_program

_ROOT = Path(__file__).parent.parent
_PREFIX = ("unshare", "--mount", "--net")

_PROGRAM = """
    import subprocess, sys, tempfile
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])

    import anyio, aiopcap
    from tests.live_programs.names import ADDRESS, FILTER, NameServer
    from tests.support.event_loop import loop_lag
    from tests.support.frames import udp_frame
    from tests.support.pcapfiles import pcap_bytes, records

    frames = [udp_frame(source_address=ADDRESS if n % 4 == 0 else "192.0.2.9") for n in range(400)]
    content = pcap_bytes(records(frames))

    async def ticks(server, lag):
        # The server answers only when the loop has turned: blocked, it would wait for ever.
        while not server.asked.is_set() or lag.count < 10:
            await anyio.lowlevel.checkpoint()
        server.answer.set()

    async def open_it():
        server = NameServer()
        async with loop_lag() as lag, anyio.create_task_group() as tasks:
            tasks.start_soon(ticks, server, lag)
            async with await aiopcap.open_offline(content, filter=FILTER) as capture:
                print(len([packet async for packet in capture]))

    async def change_it():
        server = NameServer()
        async with await aiopcap.open_offline(content) as capture:
            async with loop_lag() as lag, anyio.create_task_group() as tasks:
                tasks.start_soon(capture.set_filter, FILTER)
                before = []
                while not server.asked.is_set() or len(before) < 200 or lag.count < 10:
                    if len(before) < 200:
                        before.append(await capture.receive())
                    await anyio.lowlevel.checkpoint()
                server.answer.set()
            assert str(capture.filter) == FILTER
            print(len(before), len([packet async for packet in capture]))

    async def cancel_it():
        server = NameServer()
        async with await aiopcap.open_offline(content, filter="udp") as capture:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(capture.set_filter, FILTER)
                while not server.asked.is_set():
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            server.answer.set()
            assert str(capture.filter) == "udp"
            print(len([packet async for packet in capture]))

    async def main():
        with anyio.fail_after(20):
            await {"open": open_it, "change": change_it, "cancel": cancel_it}[sys.argv[2]]()

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {
            "resolv.conf": "nameserver 127.0.0.1\\noptions timeout:30 attempts:1\\n",
            "nsswitch.conf": "hosts: dns\\n",
        }.items():
            Path(folder, name).write_text(text)
            subprocess.run(["mount", "--bind", str(Path(folder, name)), f"/etc/{name}"], check=True)
        anyio.run(main, backend=sys.argv[3])
        for name in ("resolv.conf", "nsswitch.conf"):
            subprocess.run(["umount", f"/etc/{name}"], check=True)
    """


@pytest.mark.net
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount namespaces")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("act", "printed"), [("open", "100"), ("change", "200 50"), ("cancel", "400")]
)
def test_the_loop_runs_while_a_name_is_looked_up(act: str, printed: str, backend: str) -> None:
    require_program("unshare")
    attempt = [*_PREFIX, "mount", "--bind", "/dev/null", "/etc/resolv.conf"]
    if subprocess.run(attempt, check=False, capture_output=True).returncode != 0:
        pytest.skip("no name server can be set up without the right to mount")
    found = run_python(_PROGRAM, str(_ROOT), act, backend, before=_PREFIX)
    assert found.decode().strip() == printed
