"""WinPcap's source strings: one text for a device, a savefile or another host's device."""

import os
from dataclasses import KW_ONLY, dataclass

from aiopcap._core.constants import SourceType
from aiopcap._core.errors import printable


@dataclass(frozen=True, slots=True)
class SourceString:
    """What a source string names; a value (pcap_createsrcstr, pcap_parsesrcstr).

    ``str()`` gives the text, always. Nothing in it is escaped: a "%" means itself.

    Attributes:
        type: What it is: a savefile, a device of this host, or one of another host.
        name: The path, or the device's name; "" where the text has none.
        host: The other host's name or address, without brackets; "" where there is none.
        port: Its port, a number or the name of a service; "" for the usual one.
        tls: Whether to talk to it through TLS ("rpcaps://").

    Raises:
        ValueError: If no source string says this, such as a device with a slash in its name.
    """

    type: SourceType
    _: KW_ONLY
    name: str = ""
    host: str = ""
    port: str = ""
    tls: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", SourceType(self.type))
        if "\0" in self.name + self.host + self.port:
            raise ValueError("a source has no null character")
        if self.type is SourceType.REMOTE:
            _check_remote(self.host, self.port)
        elif self.host or self.port or self.tls:
            raise ValueError("only a remote source has a host, a port or TLS")
        elif self.type is SourceType.LOCAL and "/" in self.name:
            raise ValueError(f"{printable(self.name)}: a device's name has no '/'")

    @classmethod
    def parse(cls, text: str) -> "SourceString":
        """Take a source string apart (pcap_parsesrcstr).

        ============================== ==========================================================
        ``file://path``                a savefile; everything behind the slashes is its path, a
                                       relative one too
        ``rpcap://device``, ``device`` a device of this host
        ``rpcap://host:port/device``   a device of another host; the port may be left out, an IPv6
                                       address stands in brackets, and the slash is what makes it
                                       remote
        ``rpcaps://host/device``       the same, through TLS
        ``folder/file``, ``./file``    a savefile: without a scheme, a slash makes it a path
        ============================== ==========================================================

        The last line is not WinPcap's, for which all that has no scheme is a device. User
        information ("user:password@") is left out.

        Raises:
            ValueError: If it is empty, has another scheme, or what stands for the host is wrong.
        """
        if not isinstance(text, str):
            raise TypeError(f"a source string is a str, not {type(text).__name__}")
        if not text:
            raise ValueError("a source string must not be empty")
        # Only the first colon counts: a device's name may have some.
        scheme, _, rest = text.partition(":")
        if not rest.startswith("//"):
            return cls(SourceType.FILE if "/" in text else SourceType.LOCAL, name=text)
        rest = rest[2:]
        if scheme == "file":
            return cls(SourceType.FILE, name=rest)
        # Elsewhere libpcap wants the scheme in lower case, but not here.
        if scheme.lower() == "rpcap" and "/" not in rest:
            return cls(SourceType.LOCAL, name=rest)
        if scheme not in {"rpcap", "rpcaps"}:
            raise ValueError(
                f"{printable(scheme)}://: the scheme is not supported: it is file, rpcap or rpcaps,"
                " in lower case"
            )
        authority, _, name = rest.partition("/")
        if "@" in authority:
            authority = authority.partition("@")[2]
        host, port = _host_and_port(authority)
        return cls(SourceType.REMOTE, name=name, host=host, port=port, tls=scheme == "rpcaps")

    def format(self) -> str:
        """Return the source string that can be opened or asked for (pcap_createsrcstr).

        ``SourceString.parse`` makes the same value of it.

        Raises:
            ValueError: If it is a savefile without a path, or a remote source without a host.
        """
        if self.type is SourceType.FILE and not self.name:
            raise ValueError("file:// without a path")
        if self.type is SourceType.REMOTE and not self.host:
            raise ValueError(f"{printable(str(self))}: a remote source without a host")
        return str(self)

    def __str__(self) -> str:
        if self.type is SourceType.FILE:
            return f"file://{self.name}"
        if self.type is SourceType.LOCAL:
            return f"rpcap://{self.name}"
        scheme = "rpcaps" if self.tls else "rpcap"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{scheme}://{host}{port}/{self.name}"


def _check_remote(host: str, port: str) -> None:
    # What is wrong is not quoted: before an "@" too many there may be a password.
    if any(character in host for character in "/@[]"):
        raise ValueError("a host's name or address has no '/', '@', '[' or ']'")
    if ":" in port:
        raise ValueError("a port has no ':'; an IPv6 address in a source stands in brackets")
    if any(character in port for character in "/@"):
        raise ValueError("a port has no '/' or '@'")


def _host_and_port(authority: str) -> tuple[str, str]:
    if not authority.startswith("["):
        host, _, port = authority.partition(":")
        return host, port
    host, bracket, rest = authority[1:].partition("]")
    if not bracket:
        raise ValueError("the IP address of a source string does not end with ']'")
    if rest and not rest.startswith(":"):
        raise ValueError("a source string has something else than a port behind the IP address")
    return host, rest[1:]


Source = str | os.PathLike[str] | SourceString


def as_source(source: Source) -> SourceString:
    """Return what somebody named, as a value; an `os.PathLike` is always a path.

    Raises:
        ValueError: If a text is not a source string.
        TypeError: If it is none of the kinds.
        NotImplementedError: If it is on another host.
    """
    if isinstance(source, os.PathLike):
        path = os.fsdecode(source)
        # For `open_offline` this str is standard input, which a path never is.
        named = SourceString(SourceType.FILE, name="./-" if path == "-" else path)
    elif isinstance(source, str | SourceString):
        named = source if isinstance(source, SourceString) else SourceString.parse(source)
    else:
        raise TypeError(
            "a source is a source string, a path or a SourceString, not a "
            f"{type(source).__name__}; open_offline reads descriptors, file objects and bytes"
        )
    if named.type is SourceType.REMOTE:
        raise NotImplementedError(
            f"{printable(str(named))}: capturing on another host is not supported yet"
        )
    return named
