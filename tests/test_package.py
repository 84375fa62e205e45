"""What the package says about itself, and what the README says about the package."""

import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aiopcap
import aiopcap._native

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def public_objects() -> list[tuple[str, object]]:
    return [(name, getattr(aiopcap, name)) for name in aiopcap.__all__]


def test_all_names_each_object_once() -> None:
    assert len(aiopcap.__all__) == len(set(aiopcap.__all__))


def test_all_is_what_the_package_shows() -> None:
    shown = {
        name
        for name, value in vars(aiopcap).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert shown | {"__version__"} == set(aiopcap.__all__) | {"__version__"}


@pytest.mark.parametrize(("name", "value"), public_objects(), ids=aiopcap.__all__)
def test_a_public_object_is_documented_and_at_home_here(name: str, value: object) -> None:
    if isinstance(value, str):
        return  # __version__ has no place for words
    assert inspect.getdoc(value), f"{name} has no docstring"
    assert getattr(value, "__module__", "aiopcap") == "aiopcap"


@pytest.mark.parametrize(
    ("name", "value"),
    [pair for pair in public_objects() if inspect.isclass(pair[1])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_public_methods_are_documented(name: str, value: type) -> None:
    for member_name, member in vars(value).items():
        if member_name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        assert inspect.getdoc(getattr(value, member_name)), f"{name}.{member_name}"


def test_the_version_is_the_one_of_the_metadata() -> None:
    assert aiopcap.__version__ == importlib.metadata.version("aiopcap")


def test_a_stale_binary_is_refused_with_advice() -> None:
    with pytest.raises(ImportError, match=r"0\.0\.9.*build it again: pip install"):
        aiopcap._native.check_version("0.0.9", aiopcap.__version__)


def test_modules_keep_to_their_size() -> None:
    for path in ROOT.glob("aiopcap/**/*.py"):
        assert len(path.read_text().splitlines()) <= 400, f"{path} wants more than one room"


# --- The README -------------------------------------------------------------------------------


def readme_example() -> str:
    """The block of code that stands after the mark."""
    found = re.search(r"<!-- example: tested -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_has_ten_lines() -> None:
    assert len([line for line in readme_example().splitlines() if line.strip()]) <= 10


@pytest.mark.net
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_runs_as_printed(backend: str, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    as_printed = readme_example()
    assert 'backend="trio"' in as_printed
    program.write_text(as_printed.replace('backend="trio"', f'backend="{backend}"'))
    # In a namespace of its own, so that nobody else's packets are on the loopback device.
    command = f"ip link set lo up && exec {sys.executable} -W always {program}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d .*\+00:00 47 bytes b'hello'\n", done.stdout)


def test_the_commands_of_the_readme_exist() -> None:
    commands = set(re.findall(r"(?:^|`)(scripts/\w+)", README, re.MULTILINE))
    assert {"scripts/demo", "scripts/test"} <= commands
    for command in commands:
        assert os.access(ROOT / command, os.X_OK), command


def test_the_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
