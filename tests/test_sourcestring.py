"""Source strings are taken apart as libpcap does it, and put together again.

The expected values are those of a libpcap built with its remote capture, or of WinPcap's manual.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopcap import SourceString, SourceType

FILE, LOCAL, REMOTE = SourceType.FILE, SourceType.LOCAL, SourceType.REMOTE


def test_the_types_have_winpcaps_numbers() -> None:
    assert (FILE, LOCAL, REMOTE) == (2, 3, 4)


# -- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("eth0", "eth0"),
        ("eth0:1", "eth0:1"),
        ("rpcap://eth0", "eth0"),
        ("rpcap://", ""),
        ("rpcap://host", "host"),
        ("rpcap://host:2002", "host:2002"),
        ("rpcap://user@host", "user@host"),
        ("rpcap://[::1]", "[::1]"),
        ("RPCAP://eth0", "eth0"),
        ("traffic.pcap", "traffic.pcap"),
        ("a b%20c", "a b%20c"),
        ("rpcap:", "rpcap:"),
        ("file:", "file:"),
        (":", ":"),
        ("-", "-"),
        (".", "."),
        (" eth0", " eth0"),
        ("зонд", "зонд"),
    ],
)
def test_devices_of_this_host(text: str, name: str) -> None:
    assert SourceString.parse(text) == SourceString(LOCAL, name=name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("file:///srv/x.pcap", "/srv/x.pcap"),
        ("file://rel.pcap", "rel.pcap"),
        ("file://localhost/x", "localhost/x"),
        ("file://", ""),
        ("file://-", "-"),
        ("file:////x", "//x"),
        ("file://a b%20c?d#e", "a b%20c?d#e"),
        ("file://rpcap://host/eth0", "rpcap://host/eth0"),
        ("file://u:p@[::1", "u:p@[::1"),
        ("file://c:\\x.pcap", "c:\\x.pcap"),
        # Without a scheme: a slash makes the path.
        ("/srv/x.pcap", "/srv/x.pcap"),
        ("./eth0", "./eth0"),
        ("folder/", "folder/"),
        ("/", "/"),
        ("file:/x", "file:/x"),
        ("C:/x", "C:/x"),
        ("eth0:1/x", "eth0:1/x"),
        ("a:b://c", "a:b://c"),
    ],
)
def test_savefiles(text: str, name: str) -> None:
    assert SourceString.parse(text) == SourceString(FILE, name=name)


@pytest.mark.parametrize(
    ("text", "host", "port", "name"),
    [
        ("rpcap://host/", "host", "", ""),
        ("rpcap://host:2003/eth0", "host", "2003", "eth0"),
        ("rpcap://u:p@[::1]:2002/eth0", "::1", "2002", "eth0"),
        ("rpcap:///eth0", "", "", "eth0"),
        ("rpcap:///", "", "", ""),
        ("rpcap://[::1]/", "::1", "", ""),
        ("rpcap://[host]/e", "host", "", "e"),
        ("rpcap://[]/e", "", "", "e"),
        ("rpcap://host:/e", "host", "", "e"),
        ("rpcap://:2002/e", "", "2002", "e"),
        ("rpcap://u@/e", "", "", "e"),
        ("rpcap://host:rpcap/e", "host", "rpcap", "e"),
        ("rpcap://host/eth0/1", "host", "", "eth0/1"),
        ("rpcap://host/a:b@c[d", "host", "", "a:b@c[d"),
        ("rpcap://192.0.2.1:1//e", "192.0.2.1", "1", "/e"),
    ],
)
def test_devices_of_other_hosts(text: str, host: str, port: str, name: str) -> None:
    source = SourceString.parse(text)
    assert (source.type, source.host, source.port, source.name) == (REMOTE, host, port, name)
    assert not source.tls


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rpcaps://h/e", SourceString(REMOTE, host="h", name="e", tls=True)),
        # Only of rpcap:// WinPcap's manual says that the slash may be left out.
        ("rpcaps://h", SourceString(REMOTE, host="h", tls=True)),
        ("rpcaps://", SourceString(REMOTE, tls=True)),
        ("rpcaps://[::1]:2/e", SourceString(REMOTE, host="::1", port="2", name="e", tls=True)),
    ],
)
def test_other_hosts_through_tls(text: str, expected: SourceString) -> None:
    assert SourceString.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must not be empty"),
        ("RPCAP://h/x", "RPCAP://: the scheme is not supported"),
        ("RPCAPS://h", "RPCAPS://: the scheme is not supported"),
        ("FILE:///x", "FILE://: the scheme is not supported"),
        ("http://x/y", "http://: the scheme is not supported"),
        ("http://x", "http://: the scheme is not supported"),
        ("://x", "://: the scheme is not supported"),
        ("\x1b[2J://x", r"'\\x1b\[2J'://: the scheme"),
        ("rpcap://[::1/e", r"does not end with '\]'"),
        ("rpcap://[::1]x/e", "something else than a port"),
        ("rpcap://[::1][::2]/e", "something else than a port"),
        # Here libpcap finds a port ":1", or a host "b@c", and fails later.
        ("rpcap://::1/e", "brackets"),
        ("rpcap://a@b@c/e", "no '/', '@'"),
        ("rpcap://h:1@2@3/e", "no '/' or '@'|no '/', '@'"),
        ("rpcap://a]/e", r"no .* '\['"),
        ("rpcap://[[a]/e", r"no .* '\['"),
        ("file://a\0b", "null"),
        ("eth0\0", "null"),
        ("rpcap://h\0/x", "null"),
    ],
)
def test_what_is_no_source_string(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SourceString.parse(text)


@pytest.mark.parametrize("text", [None, b"eth0", 3])
def test_only_text_is_taken_apart(text: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        SourceString.parse(text)


@pytest.mark.parametrize(
    "text", ["rpcap://u:secret@b@c/e", "rpcap://u:secret@[::1/e", "rpcap://u:secret@[::1]x/e"]
)
def test_no_error_shows_a_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"source|host") as caught:
        SourceString.parse(text)
    assert "secret" not in str(caught.value)


# -- putting together ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (SourceString(FILE, name="/srv/x.pcap"), "file:///srv/x.pcap"),
        (SourceString(FILE, name="rel.pcap"), "file://rel.pcap"),
        (SourceString(LOCAL), "rpcap://"),
        (SourceString(LOCAL, name="eth0:1"), "rpcap://eth0:1"),
        (SourceString(REMOTE, host="h"), "rpcap://h/"),
        (SourceString(REMOTE, host="h", port="1"), "rpcap://h:1/"),
        (SourceString(REMOTE, host="h", name="eth0"), "rpcap://h/eth0"),
        (SourceString(REMOTE, host="2001:db8::1"), "rpcap://[2001:db8::1]/"),
        (SourceString(REMOTE, host="::1", port="2", name="e"), "rpcap://[::1]:2/e"),
        (SourceString(REMOTE, host="h", name="e", tls=True), "rpcaps://h/e"),
    ],
)
def test_texts(source: SourceString, text: str) -> None:
    assert source.format() == text
    assert str(source) == text
    assert SourceString.parse(text) == source


@pytest.mark.parametrize("text", ["file://", "rpcap:///eth0", "rpcap://:1/e", "rpcaps:///"])
def test_what_names_nothing_has_a_text_but_is_not_to_be_made(text: str) -> None:
    source = SourceString.parse(text)
    assert str(source) == text
    with pytest.raises(ValueError, match="without a"):
        source.format()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"type": 1}, "SourceType"),
        ({"type": 5}, "SourceType"),
        ({"type": LOCAL, "name": "a/b"}, "a/b: a device's name"),
        ({"type": LOCAL, "name": "a", "host": "h"}, "only a remote"),
        ({"type": LOCAL, "name": "a", "tls": True}, "only a remote"),
        ({"type": FILE, "name": "a", "port": "1"}, "only a remote"),
        ({"type": FILE, "name": "a\0b"}, "null"),
        ({"type": REMOTE, "host": "a/b"}, "a host's name"),
        ({"type": REMOTE, "host": "[::1]"}, "a host's name"),
        ({"type": REMOTE, "host": "u@h"}, "a host's name"),
        ({"type": REMOTE, "host": "h", "port": "1/2"}, "a port has"),
        ({"type": REMOTE, "host": "h", "port": "u@1"}, "a port has"),
        ({"type": REMOTE, "host": "h", "port": "::1"}, "brackets"),
    ],
)
def test_what_no_source_string_says(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SourceString(**wrong)


def test_it_is_a_value() -> None:
    source = SourceString.parse("rpcap://h/e")
    assert {source: 1}[SourceString(REMOTE, host="h", name="e")] == 1
    assert SourceString(SourceType(4), host="h").type is REMOTE
    assert pickle.loads(pickle.dumps(source)) == copy.copy(source) == source
    with pytest.raises(AttributeError):
        source.name = "f"  # type: ignore[misc]


# -- round trips --------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_characters="\0"), max_size=20)
awkward = st.text("ab:/@[]%. -?#\\é\udc80", max_size=12)
anything = texts | awkward


def without(characters: str) -> st.SearchStrategy[str]:
    return anything.map(lambda text: text.translate(dict.fromkeys(map(ord, characters))))


local = st.builds(SourceString, st.just(LOCAL), name=without("/"))
files = st.builds(SourceString, st.just(FILE), name=anything.filter(bool))
remote = st.builds(
    SourceString,
    st.just(REMOTE),
    name=anything,
    host=without("/@[]").filter(bool),
    port=without(":/@"),
    tls=st.booleans(),
)


@given(source=local | files | remote)
def test_what_is_put_together_is_taken_apart(source: SourceString) -> None:
    assert SourceString.parse(source.format()) == source


schemes = st.sampled_from(["", "file://", "rpcap://", "rpcaps://", "RPCAP://", "http://", "a:"])


@given(text=st.builds(str.__add__, schemes, anything))
def test_any_text_is_a_source_or_a_value_error(text: str) -> None:
    try:
        source = SourceString.parse(text)
    except ValueError:
        return
    assert SourceString.parse(str(source)) == source
