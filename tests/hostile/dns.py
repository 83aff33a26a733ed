"""The hostile name server: ordinary addresses for most names, and misbehaviour by the first or second label."""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.hostile.addresses import DNS, SPECIAL, TLS, WEB, ZONE

_ORIGIN: Final = dns.name.from_text(ZONE)
_FORGOTTEN_S: Final = 3.0
_CAA_VALUES: Final = (
    "a" * 60, "ca.example;" + "a" * 49, "ca.example; " + "a=" * 24, " " * 60, ";" * 60, "ca.example; a=" + "%" * 46,
)  # fmt: skip


_LONG: Final[dict[tuple[str, str], list[str]]] = {
    ("many", "TXT"): [f'"{number:05} {"x" * 20}"' for number in range(1200)],
    ("forged", "TXT"): ['"x"'],
    ("caa-values", "CAA"): [f'0 issue "{value}"' for value in _CAA_VALUES],
    ("caa-long", "CAA"): [f'0 issue "ca.example; {"a=b;" * 14000}"'],
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
    if kind == "cname-endless":
        return f"{(int(first) if first.isdigit() else 0) + 1}.cname-endless"
    return None


class NameServer:
    """Answers for `ZONE`. What changes does so for each asker apart."""

    def __init__(self) -> None:
        self._asked_s: dict[str, float] = {}

    def answer(self, wire: bytes, asker: str, *, tcp: bool) -> bytes | None:
        """The answer to one query; None for silence."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        if not question.name.is_subdomain(_ORIGIN):
            return None
        labels = [label.decode("latin-1").lower() for label in question.name.relativize(_ORIGIN).labels]
        kind = labels[-1] if labels else ""
        if kind == "silent" or (kind == "tcp-stall" and tcp):
            return None
        if kind == "garbage":
            return wire[:2] + os.urandom(200)
        return self._message(query, kind, asker, tcp=tcp)

    def _message(self, query: dns.message.Message, kind: str, asker: str, *, tcp: bool) -> bytes:
        if kind in {"many", "tcp-stall"} and not tcp:
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC | dns.flags.AA
        elif kind == "refused":
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response = self._ordinary(query, kind, asker)
        if kind == "wrong-id":
            response.id ^= 0xFF
        return response.to_wire(max_size=65535)

    def _ordinary(self, query: dns.message.Message, kind: str, asker: str) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        question = query.question[0]
        name, rdtype = question.name, dns.rdatatype.to_text(question.rdtype)
        for owner, kind_of, data in self._records(name, kind, rdtype, asker):
            response.answer.append(_rrset(owner, kind_of, tuple(data)))
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
        long = _LONG.get((kind, rdtype))
        if long is not None:
            return [(name, rdtype, long)]
        addresses = self._addresses(kind, rdtype, asker)
        return [(name, rdtype, addresses[rdtype])] if addresses.get(rdtype) else []

    def _addresses(self, kind: str, rdtype: str, asker: str) -> dict[str, list[str]]:
        if kind in SPECIAL:
            address = SPECIAL[kind]
            return {"AAAA" if ":" in address else "A": [address]}
        if kind == "changing":
            return {"A": [self._changing(asker)]} if rdtype == "A" else {}
        own = DNS if kind == "ns" else TLS.get(kind, WEB)
        return {"A": [str(own.v4)], "AAAA": [str(own.v6)]}

    def _changing(self, asker: str) -> str:
        """The server's own address to who has not asked lately, then loopback."""
        now_s = time.monotonic()
        good = now_s - self._asked_s.get(_network(asker), -_FORGOTTEN_S) >= _FORGOTTEN_S
        if good:
            self._asked_s[_network(asker)] = now_s
        return str(WEB.v4) if good else "127.0.0.1"


def _network(asker: str) -> str:
    """The lab's number of the asker's network: a resolver asks now by IPv4, now by IPv6."""
    return asker.split(":")[2] if ":" in asker else asker.split(".")[2]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, addr[0], tcp=False)
        if answer is not None:
            self._transport.sendto(answer, addr)


async def start() -> None:
    """Listen on port 53, UDP and TCP."""
    server = NameServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                asker = writer.get_extra_info("peername")[0]
                answer = server.answer(await reader.readexactly(size), asker, tcp=True)
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    loop = asyncio.get_running_loop()
    for one in DNS:
        await loop.create_datagram_endpoint(lambda: _Udp(server), (str(one), 53))
        await asyncio.start_server(serve, str(one), 53)
