"""Damaged savefiles without number, against a reader that was written apart from ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reading import read_all
from tests.savefile_samples import SAMPLES, Sample
from tests.support.libpcap import libpcap_read
from tests.support.reference_reader import read_savefile

pytestmark = pytest.mark.anyio

# More in a longer run: scripts/fuzz.
EXAMPLES = int(os.environ.get("AIOPCAP_FUZZ_EXAMPLES", "300"))

VALUES = (0x00, 0x01, 0x7F, 0x80, 0xFF)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_every_byte_changed_to_what_hurts_most(sample: Sample) -> None:
    content = bytearray(sample.content)
    for position, original in enumerate(sample.content):
        for value in (*VALUES, original ^ 0x01):
            content[position] = value
            changed = bytes(content)
            assert (await read_all(changed)).reading == read_savefile(changed), (position, value)
        content[position] = original


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sample with some damage: bytes changed, left out, put in, or said twice."""
    content = bytearray(draw(st.sampled_from(SAMPLES)).content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["byte", "number", "cut", "insert", "repeat", "end"])):
            case "byte" if content:
                content[at] = draw(st.integers(0, 255))
            case "number":
                number = draw(
                    st.sampled_from([0, 1, 3, 12, 28, 2**16, 2**18 + 1, 2**31, 2**32 - 4])
                )
                content[at : at + 4] = number.to_bytes(4, draw(st.sampled_from(["little", "big"])))
            case "cut":
                del content[at : at + draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = draw(st.binary(max_size=40))
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 100))]
            case "end":
                del content[at:]
    return bytes(content)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=damaged())
async def test_damage_of_any_kind(content: bytes) -> None:
    assert (await read_all(content)).reading == read_savefile(content)


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=damaged())
def test_libpcap_and_the_reference_reader_agree_on_damaged_pcap(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The witness has a witness: in pcapng libpcap is stricter with interfaces, in pcap it is not.
    expected = read_savefile(content)
    if content[:4] == b"\n\r\r\n":
        return
    path: Path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    found = libpcap_read(path)
    # It knows no packets beyond 262144 bytes, whatever a file announces, and on bits of the link
    # type that are reserved it differs from release to release.
    if found.error is not None and "bigger than maximum" in found.error:
        return
    if expected.end == "invalid" and len(content) >= 24 and found.linktype is not None:
        assert found.packets[: len(expected.packets)] == expected.packets
        return
    assert found.packets == expected.packets
    assert (found.error is None) == (expected.end == "complete")
