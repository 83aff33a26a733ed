"""Which perspective a `[[remote_perspectives]]` URL names, so that two spellings of one perspective compare equal. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote

import idna

_DEFAULT_PORTS = {"https": 443}
# getaddrinfo(3) reads a last label of this form as part of an IPv4 address: "127.1" and "0x7f000001" are 127.0.0.1.
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class RemoteIdentity:
    """`host`: lower-case A-labels without the final dot, or an address in canonical form. `path`: before `/perspectives/CODE`."""

    scheme: str
    host: str
    port: int
    path: str
    code: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}/perspectives/{self.code}"


def identity_of(url: str) -> RemoteIdentity:
    """Return the identity that `url` names (RFC 3986 section 6.2.2 and 6.2.3, and IDNA for the host).

    `url` matches the pattern of `RemotePerspectiveConfig.url`. Raises `ValueError` with the rule that its host or port breaks.
    """
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, port = _split_port(authority)
    scheme = scheme.lower()
    # A server may decode the path before it compares, so that an escaped letter names the same resource.
    segments = _without_dots(unquote(path).split("/"))
    return RemoteIdentity(
        scheme, _host(host), _port(port, scheme), "".join(f"/{part}" for part in segments[:-2]), segments[-1]
    )


def plain_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), else `address` itself."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _split_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, bracket, tail = authority.partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError("the host's brackets are not closed, or something other than :PORT follows them")
        return host + bracket, tail[1:]
    host, _, port = authority.partition(":")
    return host, port


def _port(text: str, scheme: str) -> int:
    if not text:
        return _DEFAULT_PORTS[scheme]
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= 65535):
        raise ValueError(f"port {text[:16]!r} is not a number from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except AddressValueError as error:
            raise ValueError(f"{text[:64]!r} is not an IPv6 address in brackets") from error
        if address.scope_id is not None:
            raise ValueError(f"{text[:64]!r} holds a zone; write a global address or a name")
        return str(plain_address(address))
    name = text.removesuffix(".")
    try:
        name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"{text[:64]!r} is not a valid internationalised domain name (IDNA 2008)") from error
    if not re.fullmatch(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", name) or ".." in name:
        raise ValueError(f"{text[:64]!r} is not a host name of letters, digits and hyphens, nor an IP address")
    if _NUMERIC.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ip_address(name))
        except ValueError as error:
            raise ValueError(
                f"{text[:64]!r} is an IPv4 address in a spelling other than a.b.c.d; write that"
            ) from error
    return name


def _without_dots(segments: list[str]) -> list[str]:
    """Without `.` and `..` (RFC 3986 section 5.2.4) and without empty segments, which servers ignore."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    return kept
