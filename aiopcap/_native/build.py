"""Build script of the cffi module: joins the declarations and the C sources, which are files."""

import sysconfig
import tomllib
from pathlib import Path

from cffi import FFI

# A free-threaded interpreter has no limited API.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = (
    "live",
    "send",
    "link",
    "addresses",
    "savefile",
    "savefile_pcap",
    "savefile_pcapng",
    "pcapng_packet",
    "pseudoheader",
    "records",
    "blocks",
    "rename",
    "merge",
)
HEADERS = (
    "live.h",
    "send.h",
    "link.h",
    "addresses.h",
    "savefile.h",
    "records.h",
    "blocks.h",
    "rename.h",
    "merge.h",
)

with (ROOT / "pyproject.toml").open("rb") as file:
    VERSION = tomllib.load(file)["project"]["version"]

ffibuilder = FFI()
for declarations in ("libpcap.cdef", "aiopcap.cdef"):
    ffibuilder.cdef((HERE / declarations).read_text())
ffibuilder.set_source(
    "aiopcap._native._libpcap",
    "".join(f'#include "{header}"\n' for header in HEADERS)
    + "static const char *const aiopcap_version = AIOPCAP_VERSION;\n",
    sources=[f"aiopcap/_native/{name}.c" for name in SOURCES],
    include_dirs=["aiopcap/_native"],
    depends=[str(path.relative_to(ROOT)) for path in HERE.glob("*.h")],
    libraries=["pcap"],
    # 3.11 is where the buffer protocol became part of the limited API.
    define_macros=[
        ("AIOPCAP_VERSION", f'"{VERSION}"'),
        *([("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else []),
    ],
    py_limited_api=LIMITED_API,
)
