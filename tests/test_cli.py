"""The command as a whole: its help, what it needs, the list of devices."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import aiopcap as library
from tests.support_cli import BACKENDS, Terminal, aiopcap, started

COMMANDS = ["devices", "capture", "read", "info", "convert", "replay", "demo"]


def test_version_names_the_library_below_too() -> None:
    run = aiopcap("--version")
    assert run.stdout == f"aiopcap {version('aiopcap')}, {library.libpcap_version()}\n"
    assert (run.returncode, run.stderr) == (0, "")


def test_help_lists_the_commands() -> None:
    run = aiopcap("--help")
    assert run.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in run.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    run = aiopcap(command, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith(f"Usage: aiopcap {command} ")
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_an_unknown_command_is_a_usage_error() -> None:
    run = aiopcap("caputre")
    assert (run.returncode, run.stdout) == (2, "")
    assert "caputre" in run.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_sentence_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from aiopcap.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        f"aiopcap: the command line needs {missing}: install it with pip install 'aiopcap[cli]'\n"
    )


def test_without_trio_one_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['trio'] = None; sys.argv[1:] = ['devices', '--backend', 'trio'];"
        "from aiopcap.cli import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "aiopcap: trio is not installed: pip install 'aiopcap[trio]'\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback device has another name")
@pytest.mark.parametrize("backend", BACKENDS)
def test_devices_into_a_pipe_are_lines_with_tabs(backend: str) -> None:
    run = aiopcap("devices", "--backend", backend)
    assert (run.returncode, run.stderr) == (0, "")
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    assert {len(row) for row in rows} == {4}
    (loopback,) = [row for row in rows if row[0] == "lo"]
    assert loopback[1] == "up, loopback"
    assert "127.0.0.1/8" in loopback[2].split()


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback device has another name")
@pytest.mark.parametrize("columns", [80, 100])
def test_devices_on_a_terminal_are_a_table_that_fits(columns: int) -> None:
    with Terminal(columns) as terminal, started("devices", stdout=terminal.end) as process:
        terminal.read_until("127.0.0.1/8")
        assert process.wait() == 0
        terminal.read_rest()
        lines = terminal.shown.splitlines()
        assert lines[0].split() == ["device", "state", "addresses", "description"]
        assert max(map(len, lines)) <= columns
