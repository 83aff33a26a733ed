"""Record types by name, RDATA taken out of a message, and its presentation form (RFC 1035, 3597, 8659, 4034)."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from appliance.net.dns.names import Malformed, name_to_text, read_name

TYPES: Final = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "DNAME": 39,
    "DS": 43,
    "RRSIG": 46,
    "NSEC": 47,
    "DNSKEY": 48,
    "NSEC3": 50,
    "CAA": 257,
}
TYPE_NAMES: Final = {number: name for name, number in TYPES.items()}
OPT: Final = 41
MAX_TEXT_CHARS: Final = 512

# How many names stand at the end of the RDATA, after that many fixed bytes: they may be compressed (RFC 3597 section 4).
_NAMES: Final = {2: (0, 1), 5: (0, 1), 12: (0, 1), 15: (2, 1), 6: (0, 2), 39: (0, 1)}
_FIXED_LENGTHS: Final = {1: 4, 28: 16}
_CHARACTER: Final = tuple(
    "\\" + chr(b) if b in b'"\\' else (chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03d}") for b in range(256)
)


def type_name(number: int) -> str:
    """The mnemonic, or `TYPE` and the number (RFC 3597 section 5)."""
    return TYPE_NAMES.get(number) or f"TYPE{number}"


def read_rdata(message: bytes, rdtype: int, offset: int, length: int) -> bytes:
    """RDATA with the names in it uncompressed. Raises `Malformed` where its length does not fit its type."""
    end = offset + length
    fixed = _FIXED_LENGTHS.get(rdtype)
    if fixed is not None and fixed != length:
        raise Malformed(f"{type_name(rdtype)} RDATA of {length} bytes")
    layout = _NAMES.get(rdtype)
    if layout is None:
        return message[offset:end]
    before, names = layout
    parts = [message[offset : offset + before]]
    offset += before
    for _ in range(names):
        name, offset = read_name(message, offset)
        parts.append(name)
    if offset > end:
        raise Malformed(f"a name runs past the end of {type_name(rdtype)} RDATA")
    parts.append(message[offset:end])
    return b"".join(parts)


def character_strings(rdata: bytes) -> list[bytes]:
    """The `<character-string>`s of TXT RDATA (RFC 1035 section 3.3.14). Raises `Malformed` where the lengths do not add up."""
    first = rdata[0] + 1 if rdata else 0
    if first and first == len(rdata):
        return [rdata[1:]]
    strings = []
    offset = 0
    while offset < len(rdata):
        end = offset + 1 + rdata[offset]
        if end > len(rdata):
            raise Malformed("a character-string runs past the end of TXT RDATA")
        strings.append(rdata[offset + 1 : end])
        offset = end
    if not strings:
        raise Malformed("TXT RDATA without a character-string")
    return strings


def quoted(value: bytes) -> str:
    """A `<character-string>` in presentation form."""
    if value.isascii() and (text := value.decode("ascii")).isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_CHARACTER[b] for b in value]) + '"'


def presentation(rdtype: int, rdata: bytes) -> str:
    """Presentation form of uncompressed RDATA, clipped to 512 characters; generic (RFC 3597) where it does not parse."""
    writer = _WRITERS.get(rdtype, _generic)
    try:
        text = writer(rdata)
    except (Malformed, IndexError, ValueError):
        text = _generic(rdata)
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def _generic(rdata: bytes) -> str:
    return f"\\# {len(rdata)} {rdata[: MAX_TEXT_CHARS // 2].hex()}".rstrip()


def _txt(rdata: bytes) -> str:
    return " ".join([quoted(string) for string in character_strings(rdata)])


def _caa(rdata: bytes) -> str:
    end = 2 + rdata[1]
    tag = rdata[2:end].decode("ascii")
    if len(rdata) < end or not tag.isalnum():
        raise Malformed("CAA RDATA without a property tag")
    return f"{rdata[0]} {tag} {quoted(rdata[end:])}"


def _name(rdata: bytes) -> str:
    return absolute(rdata)


def absolute(wire: bytes) -> str:
    """A name as RDATA shows it: with the final dot."""
    text = name_to_text(wire)
    return text if text == "." else text + "."


def _mx(rdata: bytes) -> str:
    return f"{int.from_bytes(rdata[:2])} {absolute(rdata[2:])}"


def _soa(rdata: bytes) -> str:
    mname, offset = read_name(rdata, 0)
    rname, offset = read_name(rdata, offset)
    if len(rdata) != offset + 20:
        raise Malformed("SOA RDATA of a wrong length")
    numbers = [str(int.from_bytes(rdata[i : i + 4])) for i in range(offset, offset + 20, 4)]
    return " ".join([absolute(mname), absolute(rname), *numbers])


def _ds(rdata: bytes) -> str:
    if len(rdata) < 5:
        raise Malformed("DS RDATA too short")
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {rdata[4:].hex()}"


def _dnskey(rdata: bytes) -> str:
    if len(rdata) < 5:
        raise Malformed("DNSKEY RDATA too short")
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {b64encode(rdata[4:]).decode()}"


_WRITERS: Final[dict[int, Callable[[bytes], str]]] = {
    1: socket.inet_ntoa,
    2: _name,
    5: _name,
    6: _soa,
    12: _name,
    15: _mx,
    16: _txt,
    28: lambda rdata: socket.inet_ntop(socket.AF_INET6, rdata),
    39: _name,
    43: _ds,
    48: _dnskey,
    257: _caa,
}
