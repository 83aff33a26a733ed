"""URLs of a check: parsed and resolved by RFC 3986, with every form refused that two readers could read differently."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import idna
import msgspec

from appliance.errors import ApplianceError
from appliance.net.dns.names import BadName, name_to_wire

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Of BR 1.6.1's Authorized Ports, those of the two schemes.
AUTHORIZED_PORTS: Final = frozenset(DEFAULT_PORTS.values())
MAX_URL_BYTES: Final = 2048
_SCHEME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")
_DIGITS: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdef")
_ALLOWED: Final = frozenset(range(0x21, 0x100)) - {0x7F, 0x5C}


class RefusedUrl(ApplianceError):
    """A URL that a check must not, or cannot unambiguously, follow."""


class Url(msgspec.Struct, frozen=True):
    """`host`: lower-case A-labels without the final dot, or a canonical address. `target`: path and query, ASCII."""

    scheme: str
    host: str
    port: int
    target: str
    is_address: bool

    @property
    def authority(self) -> str:
        """The value of the Host header (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def resolve(base: Url, location: bytes) -> Url:
    """The final value of a `Location` header (RFC 9110 section 10.2.2): resolved against `base`, without its fragment.

    Raises `RefusedUrl`: another scheme, a port that is neither 80 nor 443, user information, an address that is not
    in its canonical notation, a backslash, white space or a control character, more than 2048 bytes.
    """
    reference = _text(location).partition("#")[0]
    scheme, rest = _split_scheme(reference)
    if rest.startswith("//"):
        authority, slash, path = _split_authority(rest[2:])
        return _absolute(scheme or base.scheme, authority, slash + path)
    if scheme:
        raise RefusedUrl("a scheme without an authority")
    target = _merge(base.target, rest)
    return msgspec.structs.replace(base, target=target)


def parse(text: str) -> Url:
    """An absolute http or https URL, by the rules of `resolve`."""
    scheme, rest = _split_scheme(_text(text.encode()).partition("#")[0])
    if not scheme or not rest.startswith("//"):
        raise RefusedUrl("not an absolute URL")
    authority, slash, path = _split_authority(rest[2:])
    return _absolute(scheme, authority, slash + path)


def _text(raw: bytes) -> str:
    """As latin-1 characters; what is beyond ASCII is sorted out by `_target` and `_host`."""
    if len(raw) > MAX_URL_BYTES:
        raise RefusedUrl(f"longer than {MAX_URL_BYTES} bytes")
    if not _ALLOWED.issuperset(raw):
        raise RefusedUrl("white space, a control character or a backslash")
    return raw.decode("latin-1")


def _split_scheme(reference: str) -> tuple[str, str]:
    head, colon, rest = reference.partition(":")
    scheme = head.lower()
    if not colon or not _SCHEME.issuperset(scheme) or not scheme[:1].isalpha():
        return "", reference
    if scheme not in DEFAULT_PORTS:
        raise RefusedUrl(f"scheme {scheme[:32]!r} is neither http nor https")
    return scheme, rest


def _split_authority(rest: str) -> tuple[str, str, str]:
    for index, character in enumerate(rest):
        if character in "/?":
            return rest[:index], "" if character == "/" else "/", rest[index:]
    return rest, "/", ""


def _absolute(scheme: str, authority: str, target: str) -> Url:
    if "@" in authority:
        raise RefusedUrl("user information in the URL")
    host, port = _split_port(authority)
    number = DEFAULT_PORTS[scheme] if not port else int(port) if len(port) <= 5 else 0
    if number not in AUTHORIZED_PORTS:
        raise RefusedUrl(f"port {port[:8]} is not one of {sorted(AUTHORIZED_PORTS)} (BR 1.6.1, Authorized Ports)")
    name, is_address = _host(host)
    path, question, query = target.partition("?")
    return Url(scheme, name, number, _ascii(_without_dots(path) + question + query), is_address)


def _split_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        host += bracket
    else:
        host, colon, tail = authority.partition(":")
        port = colon + tail
    digits = port[1:]
    if port and (port[0] != ":" or not _DIGITS.issuperset(digits)):
        raise RefusedUrl("the authority is not host[:port]")
    return host, digits


def _host(host: str) -> tuple[str, bool]:
    if host.startswith("["):
        return _ipv6(host), True
    name = _a_labels(host).lower().removesuffix(".")
    if _looks_like_ipv4(name):
        try:
            return str(IPv4Address(name)), True
        except AddressValueError as error:
            raise RefusedUrl(f"{name[:64]!r} is an IPv4 address in no canonical notation") from error
    try:
        name_to_wire(name)
    except BadName as error:
        raise RefusedUrl(f"bad host name: {error}") from error
    if not name or not set(name) <= _NAME:
        raise RefusedUrl(f"bad host name: {name[:64]!r}")
    return name, False


_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


def _ipv6(literal: str) -> str:
    if not literal.endswith("]") or "%" in literal:
        raise RefusedUrl("an IPv6 literal without its bracket, or with a zone")
    try:
        return str(IPv6Address(literal[1:-1]))
    except AddressValueError as error:
        raise RefusedUrl(f"{literal[:64]!r} is no IPv6 address") from error


def _looks_like_ipv4(name: str) -> bool:
    """Whether some reader would take this for an IPv4 address: its last label is a number (WHATWG URL, section 3.5)."""
    last = name.rpartition(".")[2]
    return bool(last) and (_DIGITS.issuperset(last) or (last.startswith("0x") and _HEX.issuperset(last[2:])))


def _a_labels(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host.encode("latin-1").decode("utf-8"), uts46=True).decode("ascii")
    except (UnicodeError, idna.IDNAError) as error:
        raise RefusedUrl("bad internationalised host name") from error


def _merge(base_target: str, reference: str) -> str:
    """RFC 3986 section 5.2.2, for a reference with neither scheme nor authority."""
    base_path, _, base_query = base_target.partition("?")
    path, question, query = reference.partition("?")
    if not path:
        kept = question + query if question else ("?" + base_query if base_query else "")
        return _ascii(base_path + kept)
    if not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    return _ascii(_without_dots(path) + question + query)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, for a path that begins with a slash."""
    output: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if output:
                output.pop()
        elif segment != ".":
            output.append(segment)
    if segments[-1] in (".", ".."):
        output.append("")
    return "/" + "/".join(output)


def _ascii(target: str) -> str:
    """The target with all beyond ASCII escaped. It is held to the same bound again: it grows by that, and from hop to hop."""
    if not target.isascii():
        target = "".join([c if c < "\x7f" else f"%{ord(c):02X}" for c in target])
    if len(target) > MAX_URL_BYTES:
        raise RefusedUrl(f"longer than {MAX_URL_BYTES} bytes")
    return target
