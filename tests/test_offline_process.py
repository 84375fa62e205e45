"""Captures of files when a program ends or forks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.frames import numbered
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.programs import run_python

pytestmark = pytest.mark.anyio

CONTENT = pcap_bytes(records(numbered(100)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file.pcap"
    file.write_bytes(CONTENT)
    return file


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("stage", ["unread", "reading", "held"])
def test_a_program_ends_with_an_open_capture(path: Path, backend: str, stage: str) -> None:
    printed = run_python(
        """
        import os, sys, warnings
        import anyio, aiopcap

        warnings.simplefilter("ignore", ResourceWarning)

        async def main():
            global capture
            capture = await aiopcap.open_offline(sys.argv[1])
            if sys.argv[3] == "reading":
                await capture.receive()
            if sys.argv[3] == "held":
                # A file object whose read does not end.
                reader, writer = os.pipe()
                os.write(writer, open(sys.argv[1], "rb").read(100))
                capture = await aiopcap.open_offline(open(reader, "rb", buffering=0))
                with anyio.move_on_after(0.1):
                    while True:
                        await capture.receive()
            print("ended", flush=True)

        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        stage,
        timeout=8,
    )
    assert printed == b"ended\n"


@pytest.mark.parametrize("kind", ["path", "pipe", "memory"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_forked_child_gets_an_error_and_disturbs_nobody(
    path: Path, backend: str, kind: str
) -> None:
    printed = run_python(
        """
        import gc, os, sys, warnings
        import anyio, aiopcap

        async def attempt(call):
            try:
                result = call()
                if hasattr(result, "__await__"):
                    await result
                return "worked"
            except RuntimeError as error:
                return "fork" if "fork" in str(error) or "event loop" in str(error) else repr(error)
            except BaseException as error:
                return repr(error)

        async def main():
            content = open(sys.argv[1], "rb").read()
            source = sys.argv[1]
            if sys.argv[3] == "memory":
                source = content
            if sys.argv[3] == "pipe":
                source, writer = os.pipe()
                os.write(writer, content)
                os.close(writer)
            capture = await aiopcap.open_offline(source)
            got = [await capture.receive() for _ in range(5)]
            child = os.fork()
            if child == 0:
                try:
                    outcomes = set()
                    for call in (
                        capture.receive_nowait,
                        lambda: capture.receive().__await__().__next__(),
                        lambda: anext(capture).__await__().__next__(),
                        lambda: capture.receive_batch().__await__().__next__(),
                    ):
                        outcomes.add(await attempt(call))
                    os.write(1, " ".join(sorted(outcomes)).encode() + b"\\n")
                    capture._close()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            got += [packet async for packet in capture]
            await capture.aclose()
            os.write(1, b"%d\\n" % len(got))

        warnings.simplefilter("ignore")
        anyio.run(main, backend=sys.argv[2])
        """,
        str(path),
        backend,
        kind,
    )
    assert printed == b"fork\n100\n"
