"""Fixtures that all tests share: the event loops, network hosts and the corpus."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reading import Make, SlowFile
from tests.support.privileges import require_net
from tests.support.veth import Veth, veth_pair

_BACKENDS = [
    pytest.param(("asyncio", {"debug": False, "use_uvloop": False}), id="asyncio"),
    pytest.param(("trio", {}), id="trio"),
]
if importlib.util.find_spec("uvloop") is not None:
    _uvloop = pytest.param(("asyncio", {"debug": False, "use_uvloop": True}), id="uvloop")
    _BACKENDS.insert(1, _uvloop)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the project's own marks."""
    config.addinivalue_line("markers", "net: needs real network hosts (root on Linux)")
    # A shell's background job ignores interrupts, and so would all programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for network hosts, so that ``-m 'not net'`` leaves them out."""
    for item in items:
        if "veth" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.net)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``net`` where there is no privilege, or fail where it is required."""
    if item.get_closest_marker("net") is not None:
        require_net()


@pytest.fixture(scope="module", params=_BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run each asynchronous test on asyncio, on uvloop where installed, and on trio."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture
def veth() -> Iterator[Veth]:
    """Two hosts joined by a cable, for one test."""
    with veth_pair() as pair:
        yield pair


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of captures and expectations made by others, where there is one."""
    folder = os.environ.get("AIOPCAP_CORPUS")
    if not folder:
        pytest.skip("AIOPCAP_CORPUS does not name a folder of captures")
    return Path(folder)


@pytest.fixture
def make(kind: str, tmp_path: Path) -> Make:
    """Make a savefile for `tests.reading.sources`."""

    def source(content: bytes) -> Any:
        if kind == "path":
            path = tmp_path / "file.pcap"
            path.write_bytes(content)
            return path
        return content if kind == "memory" else SlowFile(content, at_once=997)

    return source
