"""Whether an authenticated answer denies a DS record at a zone cut: NSEC (RFC 4034) and NSEC3 (RFC 5155)."""

from __future__ import annotations

from base64 import b32hexencode
from hashlib import sha1
from typing import Final

from appliance.net.dns.message import Rr
from appliance.net.dns.names import Malformed, fold, read_name
from appliance.net.dns.rdata import TYPES

_NS, _SOA, _DS = TYPES["NS"], TYPES["SOA"], TYPES["DS"]
# RFC 9276: validators treat more as insecure; the resolver has refused them already.
_MAX_ITERATIONS: Final = 150
_SHA1: Final = 1


def denial_at_zone_cut(name: bytes, authority: tuple[Rr, ...]) -> Rr | None:
    """The record that shows a delegation without DS at `name` (wire form), or None.

    It stands at exactly that name and lists NS, but neither DS nor SOA (RFC 4035 section 5.2, RFC 6840 section 4.4).
    What only covers the name, as with NSEC3 opt-out, shows nothing of it. The caller has seen the AD bit.
    """
    for record in authority:
        try:
            types = _types_at(name, record)
        except (Malformed, IndexError):
            continue
        if types is not None and _NS in types and not types & {_DS, _SOA}:
            return record
    return None


def _types_at(name: bytes, record: Rr) -> set[int] | None:
    if record.rdtype == TYPES["NSEC"] and fold(record.owner) == fold(name):
        _, bitmap = read_name(record.rdata, 0)
        return _types(record.rdata[bitmap:])
    if record.rdtype == TYPES["NSEC3"]:
        return _types_of_nsec3(name, record)
    return None


def _types_of_nsec3(name: bytes, record: Rr) -> set[int] | None:
    rdata = record.rdata
    algorithm, iterations = rdata[0], int.from_bytes(rdata[2:4])
    salt = rdata[5 : 5 + rdata[4]]
    if algorithm != _SHA1 or iterations > _MAX_ITERATIONS:
        return None
    label = record.owner[1 : 1 + record.owner[0]]
    if label.upper() != b32hexencode(nsec3_hash(name, salt, iterations)):
        return None
    after_hash = 5 + rdata[4]
    return _types(rdata[after_hash + 1 + rdata[after_hash] :])


def nsec3_hash(name: bytes, salt: bytes, iterations: int) -> bytes:
    """RFC 5155 section 5, for a name in wire form."""
    digest = sha1(fold(name) + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = sha1(digest + salt, usedforsecurity=False).digest()
    return digest


def _types(bitmap: bytes) -> set[int]:
    """RFC 4034 section 4.1.2."""
    types: set[int] = set()
    offset = 0
    while offset < len(bitmap):
        window, length = bitmap[offset], bitmap[offset + 1]
        block = bitmap[offset + 2 : offset + 2 + length]
        if not 1 <= length <= 32 or len(block) != length:
            raise Malformed("a malformed type bitmap")
        types |= {
            window << 8 | byte << 3 | bit for byte, octet in enumerate(block) for bit in range(8) if octet & 0x80 >> bit
        }
        offset += 2 + length
    return types
