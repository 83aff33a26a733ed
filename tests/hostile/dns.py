"""The hostile name servers: ordinary addresses for most names, misbehaviour by their kind (`addresses.kind_of`)."""

from __future__ import annotations

import asyncio
import struct
from functools import cache
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from tests.hostile.addresses import DNS, SERVERS, SPECIAL, TLS, WEB, ZONE, kind_of
from tests.lab.model import Address

_ORIGIN: Final = dns.name.from_text(ZONE)
_OF_CAA: Final = ("no-caa", "late-caa", "no-edns", "udp-drops", "udp-refuses")
_SILENT: Final = ("silent", "mute", "dead")
_QR: Final = 0x8000
_AA: Final = 0x0400
_TC: Final = 0x0200
_RCODES: Final = {"formerr": 1, "servfail": 2, "notimp": 4, "refused": 5}
LATE_S: Final = 2.8
FORBIDS: Final = '0 issue ";"'
_CAA_VALUES: Final = (
    "a" * 60, "ca.example;" + "a" * 49, "ca.example; " + "a=" * 24, " " * 60, ";" * 60, "ca.example; a=" + "%" * 46,
)  # fmt: skip


_LONG: Final[dict[tuple[str, str], list[bytes]]] = {
    ("many", "TXT"): [bytes([len(str(number))]) + str(number).encode() for number in range(3000)],
    ("caa-long", "CAA"): [b"\x00\x05issue" + b"ca.example; " + b"a=b;" * 14000],
}
"""RDATA by kind of name and type of record, of what dnspython would be slow to make."""
_SHORT: Final[dict[tuple[str, str], list[str]]] = {
    ("cname-long", "CAA"): [FORBIDS],
    ("forged", "TXT"): ['"x"'],
    ("caa-values", "CAA"): [f'0 issue "{value}"' for value in _CAA_VALUES],
}
"""Records by kind of name and type of record."""


@cache
def _rrset(owner: dns.name.Name, rdtype: str, data: tuple[str, ...]) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, 0, "IN", rdtype, *data)


def _alias(name: dns.name.Name, kind: str) -> str | None:
    """Where a name's CNAME points to, below `ZONE`."""
    first = name.labels[0]
    if kind == "alias":
        return "s-loopback"
    if kind == "cname-loop":
        return f"{'b' if first == b'a' else 'a'}.cname-loop"
    if kind == "cname-long" and first.isdigit() and int(first):
        return f"{int(first) - 1}.cname-long"
    if kind == "cname-endless":
        return f"{(int(first) if first.isdigit() else 0) + 1}.cname-endless"
    return None


class HangUp(Exception):
    """To end the TCP connection instead of an answer."""


class BadServer:
    """Answers every question as its kind says, by the bytes alone: resolvers ask such servers again and again."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def answer(self, wire: bytes, asker: str, *, tcp: bool) -> bytes | None:  # noqa: ARG002 -- as `NameServer.answer`
        """The answer to one query; None for silence. Raises `HangUp`."""
        if self._kind in _SILENT or (self._kind == "tcp-stall" and tcp):
            return None
        if self._kind == "tcp-close" and tcp:
            raise HangUp
        if self._kind == "garbage":
            return wire[:2] + b"\xff" * 200
        if self._kind == "wrong-id":
            return _bare(bytes([wire[0], wire[1] ^ 0xFF]) + wire[2:], _QR | _AA)
        return _bare(wire, _QR | _RCODES[self._kind] if self._kind in _RCODES else _QR | _AA | _TC)


class CaaServer:
    """Serves a zone of its own as anybody does, but for CAA: "no-caa" drops the question; "late-caa" forbids, after
    `LATE_S`; "no-edns" forbids, and is silent where EDNS is used, as some that stand before old servers are.
    "udp-drops" and "udp-refuses" forbid over TCP alone, as a server does that limits what it answers over UDP to an address whose
    questions somebody forges."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._zone = dns.name.from_text(f"{kind}.{ZONE}")

    def delay_s(self, wire: bytes) -> float:
        """How long the answer takes."""
        query = _query(wire)
        asked = None if query is None else query.question[0].rdtype
        return LATE_S if self._kind == "late-caa" and asked == dns.rdatatype.CAA else 0.0

    def answer(self, wire: bytes, asker: str, *, tcp: bool) -> bytes | None:  # noqa: ARG002 -- as `NameServer.answer`
        """The answer to one query; None for silence."""
        query = _query(wire)
        limited = query is not None and query.question[0].rdtype == dns.rdatatype.CAA and not tcp
        if limited and self._kind == "udp-refuses":
            return _bare(wire, _QR | _RCODES["refused"])
        if limited and self._kind == "udp-drops":
            return None
        if query is None:
            return None
        question = query.question[0]
        if question.rdtype == dns.rdatatype.CAA and (
            self._kind == "no-caa" or (self._kind == "no-edns" and query.edns >= 0)
        ):
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        server = dns.name.from_text("ns", self._zone)
        own = SERVERS[self._kind]
        soa = f"{server.to_text()} hostmaster.lab. 1 3600 600 86400 0"
        records = {
            (self._zone, dns.rdatatype.NS): server.to_text(),
            (self._zone, dns.rdatatype.SOA): soa,
            (server, dns.rdatatype.A): str(own.v4),
            (server, dns.rdatatype.AAAA): str(own.v6),
        }
        data = FORBIDS if question.rdtype == dns.rdatatype.CAA else records.get((question.name, question.rdtype))
        if data is not None:
            rdtype = dns.rdatatype.to_text(question.rdtype)
            response.answer.append(dns.rrset.from_text(question.name, 0, "IN", rdtype, data))
        else:
            response.authority.append(dns.rrset.from_text(self._zone, 0, "IN", "SOA", soa))
        return response.to_wire()


class NameServer:
    """Answers for `ZONE`. What changes does so for each asker apart."""

    def __init__(self) -> None:
        self._asked: set[tuple[str, dns.name.Name]] = set()

    def answer(self, wire: bytes, asker: str, *, tcp: bool) -> bytes | None:
        """The answer to one query; None for silence."""
        query = _query(wire)
        if query is None:
            return None
        kind = kind_of(query.question[0].name.to_text())
        if kind in SERVERS:
            return _referral(query, kind).to_wire()
        long = _LONG.get((kind, dns.rdatatype.to_text(query.question[0].rdtype)))
        if long is not None:
            return _with_rdata(query, long) if tcp else _bare(wire, _QR | _AA | _TC)
        return self._ordinary(query, kind, asker).to_wire(max_size=65535)

    def _ordinary(self, query: dns.message.Message, kind: str, asker: str) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        question = query.question[0]
        name, rdtype = question.name, dns.rdatatype.to_text(question.rdtype)
        for owner, type_of, data in self._records(name, kind, rdtype, asker):
            response.answer.append(_rrset(owner, type_of, tuple(data)))
        if kind == "forged":
            # Nobody asked for these; a resolver that keeps them answers others with them.
            for victim in ("web.check.test.", "check.test."):
                response.additional.append(dns.rrset.from_text(victim, 86400, "IN", "A", str(WEB.v4)))
            response.authority.append(dns.rrset.from_text("check.test.", 86400, "IN", "NS", f"ns.{ZONE}."))
        if not response.answer:
            soa = f"ns.{ZONE}. hostmaster.lab. 1 3600 600 86400 0"
            response.authority.append(dns.rrset.from_text(_ORIGIN, 0, "IN", "SOA", soa))
        return response

    def _records(
        self, name: dns.name.Name, kind: str, rdtype: str, asker: str
    ) -> list[tuple[dns.name.Name, str, list[str]]]:
        alias = _alias(name, kind)
        if alias is not None:
            return [(name, "CNAME", [f"{alias}.{ZONE}."])]
        short = _SHORT.get((kind, rdtype))
        if short is not None:
            return [(name, rdtype, short)]
        addresses = self._addresses(name, kind, rdtype, asker)
        return [(name, rdtype, addresses[rdtype])] if addresses.get(rdtype) else []

    def _addresses(self, name: dns.name.Name, kind: str, rdtype: str, asker: str) -> dict[str, list[str]]:
        if kind in SPECIAL:
            address = SPECIAL[kind]
            return {"AAAA" if ":" in address else "A": [address]}
        if kind == "changing":
            return {"A": [self._changing(name, asker)]} if rdtype == "A" else {}
        own = DNS if kind == "ns" else TLS.get(kind, WEB)
        return {"A": [str(own.v4)], "AAAA": [str(own.v6)]}

    def _changing(self, name: dns.name.Name, asker: str) -> str:
        """The web server's address the first time, loopback ever after."""
        before = (_network(asker), name) in self._asked
        self._asked.add((_network(asker), name))
        return "127.0.0.1" if before else str(WEB.v4)


def _bare(wire: bytes, flags: int) -> bytes:
    """Header and question of the answer to a query, and no more."""
    end = 12
    while wire[end]:
        end += 1 + wire[end]
    return wire[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 0) + wire[12 : end + 5]


def _query(wire: bytes) -> dns.message.Message | None:
    """A query about `ZONE`; None for anything else."""
    try:
        query = dns.message.from_wire(wire)
        return query if query.question[0].name.is_subdomain(_ORIGIN) else None
    except (dns.exception.DNSException, IndexError):
        return None


def _with_rdata(query: dns.message.Message, long: list[bytes]) -> bytes:
    """The answer with these records of the type asked."""
    question = query.question[0]
    head = struct.pack("!HHHHHH", query.id, _QR | _AA, 1, len(long), 0, 0)
    asked = question.name.to_digestable() + struct.pack("!HH", question.rdtype, 1)
    # Each owner is a pointer to the question's name.
    records = [struct.pack("!HHHIH", 0xC00C, question.rdtype, 1, 0, len(rdata)) + rdata for rdata in long]
    return head + asked + b"".join(records)


def _referral(query: dns.message.Message, kind: str) -> dns.message.Message:
    """To the name server of the zone of `kind`."""
    response = dns.message.make_response(query)
    zone = dns.name.from_text(f"{kind}.{ZONE}")
    server = dns.name.from_text("ns", zone)
    response.authority.append(dns.rrset.from_text(zone, 3600, "IN", "NS", server.to_text()))
    for rdtype, address in (("A", SERVERS[kind].v4), ("AAAA", SERVERS[kind].v6)):
        response.additional.append(dns.rrset.from_text(server, 3600, "IN", rdtype, str(address)))
    return response


def _network(asker: str) -> str:
    """The lab's number of the asker's network: a resolver asks now by IPv4, now by IPv6."""
    return asker.split(":")[2] if ":" in asker else asker.split(".")[2]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer | BadServer | CaaServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, addr[0], tcp=False)
        if answer is None:
            return
        if isinstance(self._server, CaaServer) and (delay_s := self._server.delay_s(data)):
            asyncio.get_running_loop().call_later(delay_s, self._transport.sendto, answer, addr)
        else:
            self._transport.sendto(answer, addr)


async def start() -> None:
    """Listen on port 53, UDP and TCP, at every address."""
    await _listen(NameServer(), DNS)
    for kind, address in SERVERS.items():
        if kind != "closed":
            await _listen(CaaServer(kind) if kind in _OF_CAA else BadServer(kind), address)


async def _listen(server: NameServer | BadServer | CaaServer, address: Address) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                asker = writer.get_extra_info("peername")[0]
                answer = server.answer(await reader.readexactly(size), asker, tcp=True)
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (OSError, IndexError, asyncio.IncompleteReadError, HangUp):
            writer.close()

    for one in address:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(server), (str(one), 53))
        await asyncio.start_server(serve, str(one), 53)
