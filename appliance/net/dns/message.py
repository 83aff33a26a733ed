"""Queries built and responses parsed (RFC 1035 section 4, RFC 6891, RFC 8914), strictly and within bounds.

Own code, since dnspython takes a multiple of the whole budget of a look-up; it is held to dnspython by tests.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final

import msgspec

from appliance.net.dns.names import Malformed, fold, read_name, skip_name
from appliance.net.dns.rdata import OPT, read_rdata

IN: Final = 1
CNAME: Final = 5
UDP_PAYLOAD_BYTES: Final = 4096
MAX_ANSWER_RECORDS: Final = 1024
MAX_OTHER_RECORDS: Final = 1024
MAX_CHAIN: Final = 16
MAX_EDE: Final = 8
MAX_EDE_TEXT_BYTES: Final = 200

_HEADER: Final = Struct("!HHHHHH")
_RR_FIXED: Final = Struct("!HHIH")
_OPTION: Final = Struct("!HH")
_EDE_OPTION: Final = 15
_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_TC: Final = 0x0200
_AA: Final = 0x0400
_AD: Final = 0x0020
# RD, and AD to ask for the AD bit without the signatures (RFC 6840 section 5.7).
_QUERY_FLAGS: Final = 0x0120
_DO: Final = 0x8000
_QUERY_OPT: Final = b"\x00" + _RR_FIXED.pack(OPT, UDP_PAYLOAD_BYTES, 0, 0)
_DIRECT_OPT: Final = b"\x00" + _RR_FIXED.pack(OPT, 1232, 0, 0)
_QUERY_OPT_DO: Final = b"\x00" + _RR_FIXED.pack(OPT, UDP_PAYLOAD_BYTES, _DO, 0)

RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN"}


class TooManyRecords(Malformed):
    """A response whose header counts more records than anybody's RRset needs; none of them was read."""


class Rr(msgspec.Struct, frozen=True):
    """One record: owner in wire form, TTL in seconds, RDATA uncompressed."""

    owner: bytes
    rdtype: int
    ttl_s: int
    rdata: bytes


class Response(msgspec.Struct, frozen=True):
    """What a response says about its question. `rcode` includes the bits of EDNS; `chain` and `rrset` are of the answer
    section: the CNAMEs in the order followed, and the records of the type asked at the end of it. `authority` and
    `additional` are those sections where they were asked for; `aa`: the server says that it is authoritative. `answers`
    counts the answer section's records. All else is ignored."""

    rcode: int
    ad: bool
    truncated: bool
    chain: tuple[Rr, ...]
    rrset: tuple[Rr, ...]
    ede: tuple[tuple[int, str], ...]
    authority: tuple[Rr, ...] = ()
    additional: tuple[Rr, ...] = ()
    aa: bool = False
    answers: int = 0


def rcode_name(rcode: int) -> str:
    """The mnemonic, or `RCODE` and the number."""
    return RCODES.get(rcode) or f"RCODE{rcode}"


def question(name: bytes, rdtype: int) -> bytes:
    """The question section's one entry, class IN."""
    return name + rdtype.to_bytes(2) + b"\x00\x01"


def build_query(message_id: int, asked: bytes, *, dnssec: bool = False) -> bytes:
    """A recursive query that asks for AD, with EDNS(0), for `asked` = `question(…)`; with `dnssec` for the proofs too (DO)."""
    opt = _QUERY_OPT_DO if dnssec else _QUERY_OPT
    return _HEADER.pack(message_id, _QUERY_FLAGS, 1, 0, 0, 1) + asked + opt


def build_direct_query(message_id: int, asked: bytes, *, edns: bool) -> bytes:
    """A query to an authoritative server: no recursion wanted, with EDNS(0) for 1232 octets (RFC 9715) or without."""
    return _HEADER.pack(message_id, 0, 1, 0, 0, int(edns)) + asked + (_DIRECT_OPT if edns else b"")


def answers(message: bytes, asked: bytes) -> bool:
    """Whether these bytes are a response to exactly that question, by header and question section; the id is the caller's."""
    return (
        len(message) >= 12 + len(asked)
        and message[2] & 0x80 == 0x80
        and message[4:6] == b"\x00\x01"
        and (message[12 : 12 + len(asked)] == asked or fold(message[12 : 12 + len(asked)]) == fold(asked))
    )


def parse_response(
    message: bytes, asked: bytes, *, with_authority: bool = False, with_additional: bool = False
) -> Response:
    """Parse a message for which `answers` holds. Raises `Malformed`, and `TooManyRecords` beyond 1024 answer records or as
    many others; the chain holds at most 16 names.
    """
    try:
        return _parse(message, asked, with_authority or with_additional, with_additional)
    except (struct_error, IndexError) as error:
        raise Malformed("a record is cut off") from error


def _parse(message: bytes, asked: bytes, with_authority: bool, with_additional: bool) -> Response:
    _, flags, _, answer_count, authority_count, additional_count = _HEADER.unpack_from(message)
    if flags & (_QR | _OPCODE) != _QR:
        raise Malformed("not a response to a query")
    truncated = bool(flags & _TC)
    rcode = flags & 0xF
    if truncated:
        return Response(rcode, False, True, (), (), ())
    if answer_count > MAX_ANSWER_RECORDS or authority_count + additional_count > MAX_OTHER_RECORDS:
        raise TooManyRecords(f"{answer_count} answer and {authority_count + additional_count} other records")
    offset = 12 + len(asked)
    records: list[Rr] = []
    if answer_count:
        records, offset = _read_records(message, offset, answer_count)
    authority: list[Rr] = []
    if with_authority:
        authority, offset = _read_records(message, offset, authority_count)
        authority_count = 0
    additional = _read_records(message, offset, additional_count)[0] if with_additional else []
    high, ede = _read_rest(message, offset, authority_count + additional_count)
    chain, rrset = _follow(records, asked)
    return Response(
        high << 4 | rcode,
        bool(flags & _AD),
        False,
        chain,
        rrset,
        ede,
        tuple(authority),
        tuple(additional),
        bool(flags & _AA),
        answer_count,
    )


def _read_records(message: bytes, offset: int, count: int) -> tuple[list[Rr], int]:
    records = []
    # Hostile messages may point at one long name thousands of times: it is read once.
    names: dict[bytes, bytes] = {}
    for _ in range(count):
        key = message[offset : offset + 2]
        owner = names.get(key)
        if owner is not None:
            offset += 2
        else:
            owner, offset = read_name(message, offset)
            if key and key[0] >= 0xC0:
                names[key] = owner
        rdtype, rdclass, ttl_s, length = _RR_FIXED.unpack_from(message, offset)
        offset += 10
        if offset + length > len(message):
            raise Malformed("RDATA runs past the end of the message")
        if rdclass == IN:
            # RFC 2181 section 8: a TTL with the top bit set counts as zero.
            records.append(
                Rr(owner, rdtype, ttl_s if ttl_s < 1 << 31 else 0, read_rdata(message, rdtype, offset, length))
            )
        offset += length
    return records, offset


def _read_rest(message: bytes, offset: int, count: int) -> tuple[int, tuple[tuple[int, str], ...]]:
    high = 0
    ede: tuple[tuple[int, str], ...] = ()
    for _ in range(count):
        offset = skip_name(message, offset)
        rdtype, _, ttl_s, length = _RR_FIXED.unpack_from(message, offset)
        offset += 10
        if offset + length > len(message):
            raise Malformed("RDATA runs past the end of the message")
        if rdtype == OPT:
            high = ttl_s >> 24
            if length:
                ede = _read_ede(message[offset : offset + length])
        offset += length
    return high, ede


def _read_ede(options: bytes) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    offset = 0
    while offset < len(options):
        code, length = _OPTION.unpack_from(options, offset)
        offset += 4
        if offset + length > len(options):
            raise Malformed("an EDNS option is cut off")
        if code == _EDE_OPTION and length >= 2 and len(found) < MAX_EDE:
            text = options[offset + 2 : offset + min(length, 2 + MAX_EDE_TEXT_BYTES)]
            found.append((int.from_bytes(options[offset : offset + 2]), _printable(text)))
        offset += length
    return tuple(found)


def _printable(text: bytes) -> str:
    decoded = text.rstrip(b"\0").decode("utf-8", "replace")
    return decoded if decoded.isprintable() else "".join(c if c.isprintable() else "�" for c in decoded)


def _follow(records: list[Rr], asked: bytes) -> tuple[tuple[Rr, ...], tuple[Rr, ...]]:
    """Walk the answer section once, in its order, so that what no CNAME led to counts for nothing."""
    current = fold(asked[:-4])
    rdtype = int.from_bytes(asked[-4:-2])
    chain: list[Rr] = []
    rrset: list[Rr] = []
    for record in records:
        if fold(record.owner) != current:
            continue
        if record.rdtype == rdtype:
            rrset.append(record)
        elif record.rdtype == CNAME and not rrset:
            if len(chain) == MAX_CHAIN:
                raise Malformed(f"a chain of more than {MAX_CHAIN} CNAMEs")
            chain.append(record)
            current = fold(record.rdata)
    return tuple(chain), tuple(rrset)
