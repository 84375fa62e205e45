"""Imports only go down: facade and tools, streams, core, native.

Read from the sources, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import aiopcap
from aiopcap._native import lib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aiopcap"
EVENT_LOOPS = {"anyio", "asyncio", "sniffio", "trio", "uvloop"}


class Import(NamedTuple):
    """One imported name: `from module import name`, or `import module` with no name."""

    module: str
    name: str | None
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def part(self) -> str | None:
        """The part of aiopcap that is imported: "_core", "cli", ... or "" for the facade."""
        if self.top != "aiopcap":
            return None
        inside = self.module.removeprefix("aiopcap").removeprefix(".")
        if not inside and self.name is not None and (PACKAGE / self.name).is_dir():
            return self.name  # from aiopcap import _core
        return inside.partition(".")[0]

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{what} (line {self.line})"


def imports(path: Path) -> Iterator[Import]:
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)


def modules(part: str) -> list[Path]:
    """The modules of one part of the package: a folder or a single file."""
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def tools() -> list[str]:
    """Every public part beside the facade: the command line and whatever joins it."""
    names = (path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py")
    return sorted(name for name in names if not name.startswith("_"))


def parametrize_modules(*parts: str) -> pytest.MarkDecorator:
    paths = [path for part in parts for path in modules(part)]
    return pytest.mark.parametrize(
        "path", paths, ids=[str(path.relative_to(PACKAGE)) for path in paths]
    )


@parametrize_modules("_native")
def test_native_stands_on_nothing(path: Path) -> None:
    for found in imports(path):
        assert found.part in {None, "_native"}, found
        assert found.top in {"aiopcap", "cffi"} | sys.stdlib_module_names, found
        assert found.top not in EVENT_LOOPS, found


@parametrize_modules("_core")
def test_core_stands_on_native_and_never_waits(path: Path) -> None:
    for found in imports(path):
        assert found.part in {None, "_native", "_core"}, found
        assert found.top in {"aiopcap"} | sys.stdlib_module_names, found
        assert found.top not in EVENT_LOOPS, found
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for node in ast.walk(ast.parse(path.read_bytes())):
        assert not isinstance(node, waiting), f"line {getattr(node, 'lineno', '?')} waits"


@parametrize_modules("_streams")
def test_streams_stand_on_core_and_anyio(path: Path) -> None:
    for found in imports(path):
        assert found.part in {None, "_core", "_streams"}, found
        assert found.top in {"aiopcap", "anyio"} | sys.stdlib_module_names, found
        assert found.top not in EVENT_LOOPS - {"anyio"}, found
        assert found.name not in {"ffi", "lib"}, found


def test_the_facade_only_gathers() -> None:
    for found in imports(PACKAGE / "__init__.py"):
        assert found.part in {None, "_core", "_streams"}, found
        assert found.top in {"aiopcap"} | sys.stdlib_module_names, found


@pytest.mark.parametrize("tool", tools())
def test_tools_use_the_facade(tool: str) -> None:
    for path in modules(tool):
        for found in imports(path):
            assert found.part in {None, "", tool}, f"{path.name}: {found}"
            if found.part == "" and found.name is not None:
                assert found.name in {*aiopcap.__all__, tool}, f"{path.name}: {found}"
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                public = node.value.id != "aiopcap" or node.attr in {*aiopcap.__all__, tool}
                assert public, f"{path.name}: aiopcap.{node.attr} (line {node.lineno})"


def test_the_command_is_the_command_line_and_nothing_else() -> None:
    assert [found.part for found in imports(PACKAGE / "__main__.py")] == ["cli"]


def test_only_the_core_touches_c() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in {"_native", "_core"}:
            for found in imports(path):
                assert found.name not in {"ffi", "lib"}, f"{path.name}: {found}"


def names_used_of_lib() -> set[str]:
    used = set()
    for path in [*modules("_native"), *modules("_core")]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Attribute(value=ast.Name(id="lib"), attr=name):
                    used.add(name)
                case ast.Call(
                    func=ast.Name(id="getattr"),
                    args=[ast.Name(id="lib"), ast.Constant(value=str(name)), *_],
                ):
                    used.add(name)
    return used


def test_c_is_declared_exactly_as_far_as_it_is_used() -> None:
    assert set(dir(lib)) == names_used_of_lib()
