"""Filter expressions: wrong, long, random, and many at once."""

from __future__ import annotations

import concurrent.futures
import random
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiopcap
from aiopcap import Filter, FilterError
from tests.support.frames import frame, udp_frame

pytestmark = pytest.mark.anyio

UDP = udp_frame(b"payload", source_port=5353, destination_port=53)

OTHER = frame()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("no such thing", "syntax error"),
        ("port", "syntax error"),
        ("tcp port 70000", "70000"),
        ("ip and ip6", "rejects all packets"),
        ("host 300.0.0.1", "300"),
        ("ip\0 or udp", "NUL"),
        ("\0", "NUL"),
        ("ip or \ud800", "text|UTF-8|utf-8"),
    ],
)
def test_expressions_that_are_wrong(expression: str, words: str) -> None:
    with pytest.raises(FilterError, match=words) as caught:
        aiopcap.compile(expression)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, aiopcap.PcapError)
    assert str(caught.value).isprintable() or "\\" in repr(str(caught.value))


@pytest.mark.parametrize("expression", [None, 5, b"ip", ["ip"]])
def test_what_is_no_expression(expression: Any) -> None:
    with pytest.raises(TypeError):
        aiopcap.compile(expression)


LONG: dict[str, str] = {
    "64 KiB of one word": "x" * 65536,
    "64 KiB of spaces": "ip" + " " * 65534,
    "16 KiB of alternatives": " or ".join(["ip"] * 2700),
    "a megabyte": " or ".join(["ip"] * 180_000),
    "deep parentheses": "(" * 30_000 + "ip" + ")" * 30_000,
    "very deep parentheses": "(" * 100_000 + "ip" + ")" * 100_000,
    "never closed": "(" * 60_000,
    "never opened": ")" * 60_000,
    "not not not": "not " * 16_000 + "ip",
    "a long sum": "1" + "+1" * 5000 + " = len",
    "64 KiB of nonsense": "".join(random.Random(5).choices("()!&|<>=+-*/[]: 09afip\t\n", k=65536)),
    "backslashes": "\\" * 65536,
    "a long number": "len = " + "9" * 60_000,
    "a long name": "host " + "a." * 30_000,
    "characters of every kind": "host " + "äöü€\U0001f600" * 1000,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("name", LONG)
def test_long_expressions_compile_or_raise(name: str, optimize: bool) -> None:
    outcome: list[object] = []

    def attempt() -> None:
        try:
            outcome.append(aiopcap.compile(LONG[name], optimize=optimize))
        except FilterError as error:
            outcome.append(str(error))

    # In a thread, whose stack may be smaller, and where captures compile.
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(outcome) == 1
    assert outcome[0] != ""


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.lists(
        st.sampled_from(
            ["ip", "tcp", "port", "53", "(", ")", "and", "or", "not", "[", "]", "0", ":", "1", "=",
             "host", "1.2.3.4", "net", "/24", "len", ">", "+", "-", "*", "/", "vlan", "ether", "&",
             "\\", "proto", "mpls", "pppoes", "wlan", "type", "::1", "aa:bb:cc:dd:ee:ff", "inbound"]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_words_compile_or_raise(words: list[str]) -> None:
    program = compiled_or_refused(" ".join(words))
    if program is not None:
        for data in (b"", UDP, OTHER):
            program.matches(data)


# No letters, so that no name is looked up.
@settings(max_examples=100, deadline=None, database=None)
@given(
    st.text(alphabet="()[]{}&|!<>=+-*/%^:;.,'\"\\#$~`?@ \t\n\r\x7f0123456789µ€\ud800", max_size=40)
)
def test_any_characters_compile_or_raise(text: str) -> None:
    compiled_or_refused(text)


def compiled_or_refused(expression: str) -> Filter | None:
    """The program, or None where libpcap said in words why there is none."""
    words = ""
    try:
        return aiopcap.compile(expression)
    except FilterError as error:
        words = str(error)
    assert words
    return None


def test_errors_do_not_disturb_later_expressions() -> None:
    for _ in range(300):
        with pytest.raises(FilterError):
            aiopcap.compile("ip and (")
        assert aiopcap.compile("udp").matches(UDP)


def test_many_threads_compile_at_once() -> None:
    expressions = [f"tcp port {number} or udp port {number + 1}" for number in range(60)]
    expected = [aiopcap.compile(expression).instructions for expression in expressions]

    def compile_all(shift: int) -> bool:
        order = expressions[shift:] + expressions[:shift]
        found = [aiopcap.compile(expression).instructions for expression in order]
        try:
            aiopcap.compile(f"bad {shift}")
        except FilterError as error:
            return found == expected[shift:] + expected[:shift] and bool(str(error))
        return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(compile_all, range(0, 60, 3)))
