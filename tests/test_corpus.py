"""Captures and expectations made by others: every file of the corpus, read to its end."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import aiopcap
from tests.reading import as_records, filled, read_all
from tests.support.libpcap import libpcap_read
from tests.support.oracle import record_digest
from tests.support.reference_reader import read_savefile
from tests.support.witnesses import tcpdump_count

pytestmark = pytest.mark.anyio

SETS = ("libpcap", "pcapng-test-generator", "tcpdump")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{key: (value or "").strip() for key, value in row.items()} for row in rows]


class Expected(NamedTuple):
    """A row of the digests, with the file's."""

    path: Path
    records: int
    sha256: str
    broken: bool  # neither reader takes it
    no_interface: bool


def expectations(corpus: Path, name: str) -> Iterator[Expected]:
    for row in table(corpus / "DIGESTS.tsv"):
        if row["set"] == name:
            yield Expected(
                corpus / name / row["file"],
                int(row["records"]),
                row["sha256"],
                bool(row["py_error"]),
                "no Interface Description Blocks" in row["libpcap_error"],
            )


def test_the_digests_name_captures_of_the_corpus(corpus: Path) -> None:
    listed = {(row["set"], row["file"]) for row in table(corpus / "DIGESTS.tsv")}
    present = {
        (name, path.name)
        for name in SETS
        for path in (corpus / name).iterdir()
        if path.suffix in (".pcap", ".pcapng")
    }
    assert listed <= present
    assert len(listed) > 400


@pytest.mark.parametrize("name", SETS)
async def test_every_record_is_the_one_of_the_digests(corpus: Path, name: str) -> None:
    wrong: dict[str, object] = {}
    for row in expectations(corpus, name):
        packets, error = await read_all(row.path)
        if row.broken:
            if error is None or packets:
                wrong[row.path.name] = "read without an error"
        elif error is not None:
            wrong[row.path.name] = error
        elif (len(packets), record_digest(packets)) != (row.records, row.sha256):
            wrong[row.path.name] = len(packets)
    assert wrong == {}


@pytest.mark.parametrize("name", SETS)
async def test_headers_and_batches_are_those_of_the_manifest(corpus: Path, name: str) -> None:
    manifest = {row["file"]: row for row in table(corpus / name / "MANIFEST.tsv")}
    for row in expectations(corpus, name):
        facts = manifest[row.path.name]
        if row.broken or row.no_interface or row.path.name not in manifest:
            continue
        async with await aiopcap.open_offline(row.path) as capture:
            assert capture.format == facts["format"].partition("-")[0]
            if facts["endian"] in ("LE", "BE"):
                assert capture.byte_swapped == (facts["endian"] == "BE"), row.path.name
            if capture.format == "pcap":
                nano = facts["format"] == "pcap-ns"
                assert capture.timestamp_precision == (9 if nano else 6), row.path.name
            packets = [packet async for batch in capture.batches(3) for packet in batch]
        assert record_digest(packets) == row.sha256, row.path.name
        if not facts["tcpdump_error"]:
            assert len(packets) == int(facts["tcpdump_count"]), row.path.name


@pytest.mark.parametrize("name", SETS)
async def test_libpcap_and_the_reference_reader_see_the_same_bytes(corpus: Path, name: str) -> None:
    for row in expectations(corpus, name):
        content = row.path.read_bytes()
        outcome = await read_all(content)
        assert outcome.reading == read_savefile(content), row.path.name
        witness = libpcap_read(row.path)
        # libpcap wants the link types and snaplens of all interfaces equal, and stops there.
        known = len(witness.packets) if witness.error else len(outcome.packets)
        assert as_records(outcome.packets[:known]) == filled(witness.packets), row.path.name
        if witness.linktype is not None and not row.broken:
            async with await aiopcap.open_offline(content) as capture:
                assert (capture.linktype, capture.snaplen) == (witness.linktype, witness.snaplen)


async def test_tcpdump_still_counts_what_the_manifests_say(corpus: Path) -> None:
    for row in table(corpus / "tcpdump" / "MANIFEST.tsv")[::50]:
        path = corpus / "tcpdump" / row["file"]
        async with await aiopcap.open_offline(path) as capture:
            count = sum([len(batch) async for batch in capture.batches()])
        assert count == int(row["tcpdump_count"]) == tcpdump_count(path)


# Small ones: each is read once for every byte it has.
CUT_FILES = 20
CUT_BYTES = 1500


async def test_good_files_cut_at_every_byte(corpus: Path) -> None:
    paths = [path for name in SETS for path in sorted((corpus / name).glob("*.pcap*"))]
    good = [
        path
        for path in paths
        if path.stat().st_size <= CUT_BYTES and read_savefile(path.read_bytes()).end == "complete"
    ]
    chosen = good[:: max(1, len(good) // CUT_FILES)][:CUT_FILES]
    assert len(chosen) == CUT_FILES
    for path in chosen:
        content = path.read_bytes()
        for length in range(len(content)):
            outcome = await read_all(content[:length])
            assert outcome.reading == read_savefile(content[:length]), (path.name, length)
            assert outcome.error is None or isinstance(outcome.error, aiopcap.SavefileError)
