"""The reference leaves no public name out."""

from __future__ import annotations

import re
from pathlib import Path

import aiopcap

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
DESCRIBED = re.compile(r"^\.\. (?:auto\w+|py:data):: (\w+)", re.MULTILINE)


def test_every_public_name_is_described_once() -> None:
    pages = [page.read_text() for page in REFERENCE.glob("*.rst")]
    described = [name for page in pages for name in DESCRIBED.findall(page)]
    assert sorted(described) == sorted(aiopcap.__all__)
