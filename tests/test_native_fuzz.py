"""The native parser under sanitizers: for seconds here, for as long as you like by scripts/fuzz."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.savefile_samples import SAMPLES

ROOT = Path(__file__).parent.parent
NATIVE = ROOT / "aiopcap" / "_native"
SOURCES = (
    "savefile",
    "savefile_pcap",
    "savefile_pcapng",
    "pcapng_packet",
    "pseudoheader",
    "records",
)
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SECONDS = 2


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("fuzz")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [*compiler, *SANITIZE, str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("the C compiler has no sanitizers")
    program = folder / "savefile"
    sources = [ROOT / "tests" / "fuzz" / "savefile.c", *(NATIVE / f"{name}.c" for name in SOURCES)]
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    command = [*compiler, *flags, *SANITIZE, *map(str, sources), "-lpcap", "-o", str(program)]
    subprocess.run(command, check=True)
    return program


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_savefiles_break_no_rule_of_memory(
    harness: Path, seed: int, tmp_path: Path
) -> None:
    seeds = []
    for sample in SAMPLES:
        seeds.append(tmp_path / sample.name)
        seeds[-1].write_bytes(sample.content)
    if corpus := os.environ.get("AIOPCAP_CORPUS"):
        seeds += sorted(Path(corpus).glob("*/*.pcap*"))
    # The run-time library of a sanitizer that Python itself may run under is not the harness's.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(
        [harness, str(SECONDS), str(seed), *seeds],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[2]) > 1000
