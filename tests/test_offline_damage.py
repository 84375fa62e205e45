"""Savefiles that end too soon: what is whole comes first, then a typed error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import aiopcap
from tests.reading import End, SlowFile, as_records, read_all, rest_of
from tests.savefile_samples import SAMPLES, Sample
from tests.support import pcapngfiles as ng
from tests.support.frames import numbered
from tests.support.libpcap import libpcap_read
from tests.support.pcapfiles import pcap_bytes, records
from tests.support.reference_reader import read_savefile

pytestmark = pytest.mark.anyio


samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


def expected_at(sample: Sample, length: int) -> tuple[int, End]:
    """How many packets the first bytes of a sample hold, and how they end."""
    end, count = max(boundary for boundary in sample.boundaries if boundary[0] <= length)
    return count, "complete" if end == length else "truncated"


@samples
def test_the_reference_reader_knows_the_samples(sample: Sample) -> None:
    for length in range(sample.opens, len(sample.content) + 1):
        packets, end = read_savefile(sample.content[:length])
        assert (len(packets), end) == expected_at(sample, length)


@samples
async def test_cut_at_every_byte_in_memory(sample: Sample) -> None:
    whole = as_records((await read_all(sample.content)).packets)
    for length in range(len(sample.content) + 1):
        if length < sample.opens:
            with pytest.raises(aiopcap.SavefileError):
                await aiopcap.open_offline(sample.content[:length])
            continue
        packets, error = await read_all(sample.content[:length])
        count, end = expected_at(sample, length)
        assert as_records(packets) == whole[:count], length
        assert (error is None) == (end == "complete"), length
        assert error is None or isinstance(error, aiopcap.TruncatedSavefileError)


@samples
async def test_cut_at_every_byte_on_a_disk(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(sample.content)
    for length in range(len(sample.content), sample.opens - 1, -3):
        os.truncate(path, length)
        outcome = await read_all(path)
        assert (len(outcome.packets), outcome.end) == expected_at(sample, length)


@samples
async def test_cut_at_every_byte_in_a_pipe(sample: Sample) -> None:
    for length in range(sample.opens, len(sample.content) + 1, 3):
        reader, writer = os.pipe()
        try:
            os.write(writer, sample.content[:length])
            os.close(writer)
            outcome = await read_all(reader)
        finally:
            os.close(reader)
        assert (len(outcome.packets), outcome.end) == expected_at(sample, length)


@samples
async def test_bytes_that_come_one_at_a_time_make_the_same_packets(sample: Sample) -> None:
    whole = await read_all(sample.content)
    assert await read_all(SlowFile(sample.content, at_once=1)) == whole


@pytest.mark.parametrize("name", ["pcap", "pcapng"])
async def test_the_words_for_a_cut_are_libpcaps(name: str, tmp_path: Path) -> None:
    content = pcap_bytes(records(numbered(1)))
    if name == "pcapng":
        content = ng.section() + ng.interface() + ng.enhanced_packet(b"data", 0)
    for lost in (1, 4, 60, 70):
        path = tmp_path / f"{name}-{lost}"
        path.write_bytes(content[:-lost])
        words = libpcap_read(path).error
        if words is None or lost >= len(content) - 24:
            continue
        error = (await read_all(path)).error
        assert isinstance(error, aiopcap.TruncatedSavefileError)
        assert words.split(";")[0].removeprefix("truncated ") in str(error)


@pytest.mark.parametrize("kind", ["memory", "path", "file object"])
async def test_the_same_error_comes_again_and_does_not_grow(kind: str, tmp_path: Path) -> None:
    cut = pcap_bytes(records(numbered(2)))[:-1]
    path = tmp_path / "cut.pcap"
    path.write_bytes(cut)
    source = {"memory": cut, "path": path, "file object": SlowFile(cut)}[kind]
    async with await aiopcap.open_offline(source) as capture:
        assert len((await rest_of(capture)).packets) == 1
        errors = []
        for _ in range(50):
            with pytest.raises(aiopcap.TruncatedSavefileError) as caught:
                await capture.receive()
            errors.append(str(caught.value))
            with pytest.raises(aiopcap.TruncatedSavefileError):
                await anext(capture)
            with pytest.raises(aiopcap.TruncatedSavefileError):
                await capture.receive_batch()
        assert len(set(errors)) == 1
        depth, traceback = 0, caught.value.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        assert depth < 50
