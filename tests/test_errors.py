"""The exceptions: their family, what they carry, and that they survive a trip between processes."""

from __future__ import annotations

import copy
import errno
import pickle

import anyio
import pytest

import aiopcap
from aiopcap import (
    FilterError,
    FrameSizeError,
    InterfaceDownError,
    InterfaceGoneError,
    MissingExtraError,
    NoSuchDeviceError,
    PcapError,
    PcapWarning,
    PermissionDeniedError,
    QueueFullError,
    SavefileError,
    SavefileWriteError,
    SendError,
    TruncatedSavefileError,
)

FAMILY: dict[type[PcapError], tuple[type[Exception], ...]] = {
    PcapError: (Exception,),
    NoSuchDeviceError: (OSError,),
    PermissionDeniedError: (PermissionError, OSError),
    InterfaceDownError: (OSError,),
    InterfaceGoneError: (OSError,),
    FilterError: (ValueError,),
    SavefileError: (ValueError,),
    TruncatedSavefileError: (SavefileError, EOFError, ValueError),
    SavefileWriteError: (OSError,),
    MissingExtraError: (ImportError,),
    FrameSizeError: (ValueError,),
    SendError: (),
    QueueFullError: (BufferError,),
}

NUMBERS = {
    NoSuchDeviceError: {errno.ENODEV},
    PermissionDeniedError: {errno.EPERM, errno.EACCES},
    InterfaceDownError: {errno.ENETDOWN},
    InterfaceGoneError: {errno.ENXIO},
}

# What else they are made of.
OF_THEIR_OWN: dict[type[PcapError], dict[str, int]] = {
    FrameSizeError: {"size": 1600},
    SendError: {"index": 7, "packets": 5, "nbytes": 300},
}

WITH_TEXT = [kind for kind in FAMILY if kind is not SavefileWriteError and kind not in OF_THEIR_OWN]


def test_every_error_is_in_the_table() -> None:
    public = {
        value
        for name in aiopcap.__all__
        if isinstance(value := getattr(aiopcap, name), type) and issubclass(value, Exception)
    }
    assert public == {*FAMILY, PcapWarning}


@pytest.mark.parametrize("kind", FAMILY)
def test_each_is_a_pcap_error_and_the_natural_builtin(kind: type[PcapError]) -> None:
    assert issubclass(kind, PcapError)
    for builtin in FAMILY[kind]:
        assert issubclass(kind, builtin)
    assert kind.__module__ == "aiopcap"


def test_lifetimes_are_no_pcap_errors() -> None:
    for kind in (anyio.ClosedResourceError, anyio.BusyResourceError, anyio.EndOfStream):
        assert not issubclass(kind, PcapError)


def test_the_warning_is_shown_to_users() -> None:
    assert issubclass(PcapWarning, UserWarning)


@pytest.mark.parametrize("kind", WITH_TEXT)
@pytest.mark.parametrize("code", [None, -1, -8])
def test_text_and_code_are_kept(kind: type[PcapError], code: int | None) -> None:
    error = kind("eth0: the text", code)
    assert str(error) == "eth0: the text"
    assert error.args[0] == "eth0: the text"
    assert error.code == code
    if kind in NUMBERS:
        assert isinstance(error, OSError)
        assert error.errno in NUMBERS[kind]


def _same(one: PcapError, other: PcapError) -> None:
    assert type(one) is type(other)
    assert str(one) == str(other)
    assert one.code == other.code
    assert one.args == other.args
    for name in ("errno", "strerror", "filename"):
        assert getattr(one, name, None) == getattr(other, name, None)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", WITH_TEXT)
def test_errors_can_be_pickled_and_copied(kind: type[PcapError], protocol: int) -> None:
    for error in (kind("eth0: the text", -1), kind("eth0: the text")):
        _same(pickle.loads(pickle.dumps(error, protocol)), error)
        _same(copy.copy(error), error)
        _same(copy.deepcopy(error), error)


@pytest.mark.parametrize("kind", OF_THEIR_OWN)
def test_what_an_error_says_beside_its_text_travels_along(kind: type[PcapError]) -> None:
    expected = OF_THEIR_OWN[kind]
    error = kind("eth0: the text", **expected)
    for other in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        _same(other, error)
        assert {name: getattr(other, name) for name in expected} == expected


@pytest.mark.anyio
async def test_a_write_error_can_be_pickled_and_copied() -> None:
    dumper = await aiopcap.dump_open("/dev/full", linktype=aiopcap.LinkType.EN10MB)
    await dumper.send(aiopcap.Packet(b"x" * 60))
    with pytest.raises(SavefileWriteError) as caught:
        await dumper.flush()
    await dumper.aclose()
    error = caught.value
    assert error.errno == errno.ENOSPC
    assert "/dev/full" in str(error)
    _same(pickle.loads(pickle.dumps(error)), error)
    _same(copy.copy(error), error)


@pytest.mark.anyio
async def test_real_errors_can_be_pickled() -> None:
    with pytest.raises(NoSuchDeviceError) as missing:
        await aiopcap.open_live("no-such-device")
    with pytest.raises(FilterError) as wrong:
        aiopcap.compile("no such thing")
    with pytest.raises(SavefileError) as broken:
        await aiopcap.open_offline(bytes(100))
    with pytest.raises(TruncatedSavefileError) as cut:
        await aiopcap.open_offline(b"\xd4\xc3\xb2\xa1\x02\x00")
    for caught in (missing, wrong, broken, cut):
        _same(pickle.loads(pickle.dumps(caught.value)), caught.value)


def test_the_oserror_children_can_be_handled_as_such() -> None:
    for kind, numbers in NUMBERS.items():
        try:
            raise kind("eth0: the text", -1)
        except OSError as error:
            assert error.errno in numbers  # noqa: PT017 - that it is caught is the point
