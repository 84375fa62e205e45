"""Filters against expectations made by others: programs, verdicts and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import aiopcap
from aiopcap import FilterError, LinkType
from tests.reading import as_records, read_all
from tests.support.libpcap import libpcap_read, libpcap_refusal
from tests.support.witnesses import require_program, tcpdump_count

pytestmark = pytest.mark.anyio

Row = dict[str, Any]


@pytest.fixture(scope="module")
def oracle(corpus: Path) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = json.loads((corpus / "FILTER_ORACLE.json").read_text())
    return tables


def one_space(line: str) -> str:
    return re.sub(r"\s+", " ", line.strip())


def as_dumped(program: aiopcap.Filter) -> list[str]:
    return [one_space(line) for line in program.dump()]


def test_every_program_is_the_one_expected(oracle: dict[str, list[Row]]) -> None:
    assert len(oracle["compile"]) > 1000
    wrong = []
    for row in oracle["compile"]:
        program = aiopcap.compile(
            row["expr"],
            linktype=LinkType[row["dlt"]],
            snaplen=row["snaplen"],
            optimize=bool(row["optimize"]),
            netmask=row["netmask"],
        )
        if as_dumped(program) != [one_space(line) for line in row["bytecode"]]:
            wrong.append(row["name"])
        assert len(program.instructions) == len(row["bytecode"])
    assert wrong == []


def capture_file(corpus: Path, name: str) -> Path:
    return next(
        path for path in (corpus / "libpcap" / name, corpus / "tcpdump" / name) if path.is_file()
    )


@pytest.mark.parametrize("optimize", [True, False])
async def test_every_verdict_is_the_one_expected(
    corpus: Path, oracle: dict[str, list[Row]], optimize: bool
) -> None:
    assert len(oracle["apply"]) > 50
    for row in oracle["apply"]:
        path = capture_file(corpus, row["savefile"])
        packets, error = await read_all(path)
        assert error is None
        expected = [verdict != 0 for verdict in row["results"]]
        assert packets[0].linktype is not None
        program = aiopcap.compile(
            row["expr"],
            linktype=packets[0].linktype,
            netmask=row.get("netmask"),
            optimize=optimize,
        )
        assert [program.matches(packet) for packet in packets] == expected, row["name"]
        assert [
            program.matches(memoryview(packet.data), packet.wire_length) for packet in packets
        ] == expected
        # In a capture the same packets pass.
        passing = await read_all(path, filter=program)
        assert passing.packets == [
            packet for packet, passes in zip(packets, expected, strict=True) if passes
        ]


def test_every_refusal_is_libpcaps_in_its_words(oracle: dict[str, list[Row]]) -> None:
    rows = [row for row in oracle["reject"] if "expr" in row and "timeout" not in row]
    assert len(rows) > 70
    refused = 0
    for row in rows:
        linktype = LinkType[row["DLT"]]
        # Releases of libpcap differ in a few: what the one here says counts.
        words = libpcap_refusal(row["expr"], linktype)
        if words is None:
            aiopcap.compile(row["expr"], linktype=linktype)
            continue
        with pytest.raises(FilterError) as caught:
            aiopcap.compile(row["expr"], linktype=linktype)
        assert str(caught.value) == words != ""
        refused += 1
    assert refused > 50


async def test_files_that_the_oracle_refuses(corpus: Path, oracle: dict[str, list[Row]]) -> None:
    for row in oracle["reject"]:
        path = corpus / "libpcap" / row.get("savefile", "missing")
        if path.is_file():
            with pytest.raises(aiopcap.SavefileError):
                await aiopcap.open_offline(path)


async def test_tcpdump_lets_the_same_packets_pass(corpus: Path) -> None:
    require_program("tcpdump")
    expressions = [
        "ip",
        "tcp port 179",
        "greater 100",
        "ether[0] & 1 != 0",
        "not udp",
        "ip6 or arp",
    ]
    for name in ("bgp-4byte-asn.pcap", "AoE_Linux.pcap", "HSRP_failover.pcap"):
        path = corpus / "tcpdump" / name
        for expression in expressions:
            packets, _ = await read_all(path, filter=expression)
            assert len(packets) == tcpdump_count(path, expression), (name, expression)


async def test_the_witness_sees_the_packets_that_pass(corpus: Path) -> None:
    path = corpus / "libpcap" / "vrrp.pcap"
    packets, _ = await read_all(path, filter="")
    assert as_records(packets) == libpcap_read(path).packets
