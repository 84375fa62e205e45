"""The compiled part of the build; everything else about the project is in pyproject.toml.

Two extension modules, both with CPython's limited API, so that one wheel serves 3.11 and later:
cffi's binding of libpcap (described in aiopcap/_native/build.py) and a small C type for packets.
"""

import os
import shlex
import subprocess
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

HERE = Path(__file__).parent
VERSION = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["version"]

# A free-threaded interpreter has no limited API: there the modules are built for its exact version.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

NO_COMPILER = (
    "aiopcap needs a working C compiler to build: install gcc and libc6-dev (Debian, Ubuntu), gcc "
    "(Fedora, Arch), gcc and musl-dev (Alpine) or the Xcode command line tools (macOS: "
    "xcode-select --install)."
)
NO_PYTHON_HEADERS = (
    "aiopcap needs the headers of this Python to build: install python3-dev (Debian, Ubuntu, "
    "Alpine) or python3-devel (Fedora)."
)
NO_LIBPCAP_HEADERS = (
    "aiopcap needs the headers of libpcap to build: install libpcap-dev (Debian, Ubuntu, Alpine), "
    "libpcap-devel (Fedora) or libpcap (Arch); on macOS they come with the Xcode command line "
    "tools (xcode-select --install) or with `brew install libpcap`."
)
NEWEST_NEEDED = "pcap_get_required_select_timeout"  # of what is used, the youngest function
OLD_LIBPCAP = "aiopcap needs libpcap 1.9 or later, and the headers found here are older."

# What has to compile before the build may begin, each with the sentence for where it does not: a
# person can act on the name of a package, and cannot on a compiler's complaint.
PROBES = {
    "#include <stdio.h>": NO_COMPILER,
    "#include <Python.h>": NO_PYTHON_HEADERS,
    "#include <pcap/pcap.h>": NO_LIBPCAP_HEADERS,
    f"#include <pcap/pcap.h>\nvoid *f(void) {{ return {NEWEST_NEEDED}; }}": OLD_LIBPCAP,
}


def pkg_config(option: str) -> list[str]:
    """Say where libpcap is by pkg-config; nothing where pkg-config or its file is missing."""
    try:
        found = subprocess.run(
            ["pkg-config", option, "libpcap"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return [flag[2:] for flag in shlex.split(found.stdout)]


def check_tools(include_dirs: list[str]) -> None:
    """Raise, with what to install, when something that the build needs is missing."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    flags = f"{os.environ.get('CPPFLAGS', '')} {os.environ.get('CFLAGS', '')}"
    includes = [f"-I{path}" for path in [*include_dirs, sysconfig.get_path("include")]]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        command = [*shlex.split(compiler), *shlex.split(flags), *includes]
        command += ["-w", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        for code, advice in PROBES.items():
            source.write_text(code + "\n")
            try:
                subprocess.run(command, capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                raise SetupError(advice) from None


class Build(build):
    """A build that looks for its tools first, before it copies anything."""

    def run(self) -> None:
        check_tools(pkg_config("--cflags-only-I"))
        super().run()


class BuildExt(build_ext):
    """Compile with libpcap where pkg-config says that it is."""

    def run(self) -> None:
        places = pkg_config("--cflags-only-I")
        if not self.distribution.have_run.get("build"):  # an editable install comes here directly
            check_tools(places)
        self.include_dirs += places
        self.library_dirs += pkg_config("--libs-only-L")
        super().run()


class BuildPy(build_py):
    """Copy the package without its build script, which is of no use beside the built modules."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)  # type: ignore[no-untyped-call]
        return [module for module in modules if module[:2] != ("aiopcap._native", "build")]


PARTS = ("packets", "packet", "rows", "stream", "slice", "framesocket")

packets = Extension(
    "aiopcap._native._packets",
    sources=[f"aiopcap/_native/{name}.c" for name in PARTS],
    depends=[str(path.relative_to(HERE)) for path in HERE.glob("aiopcap/_native/*.h")],
    define_macros=[
        ("AIOPCAP_VERSION", f'"{VERSION}"'),
        *([("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else []),
    ],
    extra_compile_args=["-Wall", "-Wextra"],
    py_limited_api=LIMITED_API,
)

setup(
    cffi_modules=["aiopcap/_native/build.py:ffibuilder"],
    ext_modules=[packets],
    cmdclass={"build": Build, "build_ext": BuildExt, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
