"""The compiled part of the build; everything else about the project is in pyproject.toml.

Two extension modules, both with CPython's limited API, so that one wheel serves 3.11 and later:
cffi's binding of libpcap (described in aiopcap/_native/build.py) and a small C type for packets.
"""

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

WARNINGS = ["-Wall", "-Wextra"]

# What has to compile before the build may begin, each with the sentence for where it does not:
# a person can act on the name of a package, and cannot on a compiler's complaint.
NEEDED = [
    (
        "#include <stdio.h>",
        "aiopcap needs a working C compiler to build: install gcc and libc6-dev (Debian, Ubuntu), "
        "gcc (Fedora, Arch), gcc and musl-dev (Alpine) or the Xcode command line tools (macOS: "
        "xcode-select --install).",
    ),
    (
        "#include <Python.h>",
        "aiopcap needs the headers of this Python to build: install python3-dev (Debian, Ubuntu, "
        "Alpine) or python3-devel (Fedora).",
    ),
    (
        "#include <pcap/pcap.h>",
        "aiopcap needs the headers of libpcap to build: install libpcap-dev (Debian, Ubuntu, "
        "Alpine), libpcap-devel (Fedora) or libpcap (Arch); on macOS they come with the Xcode "
        "command line tools (xcode-select --install) or with `brew install libpcap`.",
    ),
    (
        "#include <pcap/pcap.h>\nvoid *oldest(void);\n"
        "void *oldest(void) { return (void *) pcap_get_required_select_timeout; }",
        "aiopcap needs libpcap 1.9 or later, and the headers found here are older.",
    ),
]


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
    # setuptools' own copy, which takes the place of the standard library's once it is imported.
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    includes = [f"-I{path}" for path in [*include_dirs, sysconfig.get_path("include")]]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        command = [*compiler.compiler_so, *includes, "-c", str(source), "-o", f"{scratch}/probe.o"]
        for code, advice in NEEDED:
            source.write_text(code + "\n")
            try:
                done = subprocess.run(command, capture_output=True, check=False)
            except OSError:
                raise SetupError(advice) from None
            if done.returncode:
                raise SetupError(advice)


class Build(build):
    """A build that looks for its tools first, before it copies anything."""

    def run(self) -> None:
        check_tools(pkg_config("--cflags-only-I"))
        super().run()


class BuildExt(build_ext):
    """Compile with the places and the warnings that both extension modules share."""

    def run(self) -> None:
        places = pkg_config("--cflags-only-I")
        if not self.distribution.have_run.get("build"):  # an editable install comes here directly
            check_tools(places)
        self.include_dirs += places
        self.library_dirs += pkg_config("--libs-only-L")
        super().run()

    def build_extension(self, ext: Extension) -> None:
        ext.extra_compile_args = [*WARNINGS, *ext.extra_compile_args]
        super().build_extension(ext)


class BuildPy(build_py):
    """Copy the package without its build script, which is of no use beside the built modules."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if module[:2] != ("aiopcap._native", "build")]


packets = Extension(
    "aiopcap._native._packets",
    sources=["aiopcap/_native/packets.c"],
    depends=[str(path.relative_to(HERE)) for path in HERE.glob("aiopcap/_native/*.h")],
    define_macros=[
        ("AIOPCAP_VERSION", f'"{VERSION}"'),
        *([("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else []),
    ],
    py_limited_api=LIMITED_API,
)

setup(
    cffi_modules=["aiopcap/_native/build.py:ffibuilder"],
    ext_modules=[packets],
    cmdclass={"build": Build, "build_ext": BuildExt, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
