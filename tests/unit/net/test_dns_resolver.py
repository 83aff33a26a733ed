"""The client against scripted resolvers on loopback: what is sent, what is believed, what ends when."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from appliance.model.observation import DnssecStatus, Fault
from appliance.net.dns.resolver import Resolver

Script = Callable[[dns.message.Message], list[bytes]]


class _Server(asyncio.DatagramProtocol):
    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dns.message.Message] = []
        self.came = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        self.came.set()
        for answer in self.script(query):
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def serving(
    script: Script, *, tcp: Script | None = None, timeout_s: float = 5.0
) -> AsyncIterator[tuple[Resolver, _Server]]:
    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert tcp is not None
        query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        for answer in tcp(query):
            writer.write(len(answer).to_bytes(2) + answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(stream, "127.0.0.1", 0) if tcp else None
    port = listener.sockets[0].getsockname()[1] if listener else 0
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Server(script), local_addr=("127.0.0.1", port)
    )
    resolver = await Resolver.open("127.0.0.1", transport.get_extra_info("sockname")[1], timeout_s=timeout_s)
    try:
        yield resolver, server
    finally:
        await resolver.close()
        transport.close()
        if listener is not None:
            listener.close()
            await listener.wait_closed()


def reply(query: dns.message.Message, *answer: dns.rrset.RRset, ad: bool = False) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.answer = list(answer)
    if ad:
        response.flags |= dns.flags.AD
    return response


def a_record(query: dns.message.Message, data: str = "198.18.0.1") -> dns.rrset.RRset:
    return dns.rrset.from_text(query.question[0].name, 60, "IN", "A", data)


async def test_a_secure_answer() -> None:
    async with serving(lambda q: [reply(q, a_record(q), ad=True).to_wire()]) as (resolver, server):
        lookup = await resolver.lookup("n.example", "A")
    assert (lookup.rcode, lookup.ad, lookup.dnssec) == ("NOERROR", True, DnssecStatus.SECURE)
    assert [(r.name, r.type, r.ttl_s, r.data) for r in lookup.records] == [("n.example", "A", 60, "198.18.0.1")]
    assert lookup.error is None
    (query,) = server.asked
    assert query.flags & dns.flags.CD == 0


async def test_without_ad_it_is_insecure_and_nxdomain_is_no_error() -> None:
    def script(query: dns.message.Message) -> list[bytes]:
        response = reply(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        return [response.to_wire()]

    async with serving(script) as (resolver, _):
        lookup = await resolver.lookup("n.example", "A")
    assert (lookup.rcode, lookup.dnssec, lookup.error) == ("NXDOMAIN", DnssecStatus.INSECURE, None)


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [
        (6, DnssecStatus.BOGUS, "dns.bogus"),
        (7, DnssecStatus.BOGUS, "dns.bogus"),
        (9, DnssecStatus.BOGUS, "dns.bogus"),
        (12, DnssecStatus.BOGUS, "dns.bogus"),
        (22, DnssecStatus.INDETERMINATE, "dns.servfail"),
        (None, DnssecStatus.INDETERMINATE, "dns.servfail"),
    ],
)
async def test_servfail(code: int | None, status: DnssecStatus, word: str) -> None:
    def script(query: dns.message.Message) -> list[bytes]:
        response = reply(query, a_record(query))
        response.set_rcode(dns.rcode.SERVFAIL)
        if code is not None:
            response.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(code), "why")])
        return [response.to_wire()]

    async with serving(script) as (resolver, _):
        reply_ = await resolver.query("n.example", "A")
    assert reply_.lookup.dnssec is status
    assert reply_.lookup.error is not None
    assert reply_.lookup.error.code == word
    assert reply_.rrset == ()
    assert reply_.lookup.ede == (() if code is None else ((code, "why"),))


async def test_forged_answers_are_passed_over() -> None:
    def script(query: dns.message.Message) -> list[bytes]:
        forged = reply(query, a_record(query, "198.18.0.66"))
        other_id = bytearray(forged.to_wire())
        other_id[1] ^= 1
        other_name = dns.message.make_response(dns.message.make_query("m.example", "A", id=query.id))
        return [
            bytes(other_id),
            other_name.to_wire(),
            b"",
            b"\0",
            query.to_wire(),
            reply(query, a_record(query)).to_wire(),
        ]

    async with serving(script) as (resolver, _):
        lookup = await resolver.lookup("n.example", "A")
    assert [r.data for r in lookup.records] == ["198.18.0.1"]


def truncated(query: dns.message.Message) -> list[bytes]:
    response = reply(query)
    response.flags |= dns.flags.TC
    return [response.to_wire()]


async def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    texts = dns.rrset.from_text_list("n.example.", 60, "IN", "TXT", [f'"{i:0200}"' for i in range(200)])
    async with serving(truncated, tcp=lambda q: [reply(q, texts).to_wire(max_size=65535)]) as (resolver, _):
        answer = await resolver.query("n.example", "TXT")
    assert answer.lookup.truncated
    assert answer.lookup.clipped
    assert len(answer.rrset) == 200
    assert len(answer.lookup.records) == 64


async def test_a_truncated_answer_over_tcp_too_is_an_error() -> None:
    async with serving(truncated, tcp=truncated) as (resolver, _):
        lookup = await resolver.lookup("n.example", "TXT")
    assert lookup.error is not None
    assert lookup.error.code == "dns.malformed"


async def test_thousands_of_records_are_an_error_of_their_own() -> None:
    texts = dns.rrset.from_text_list("n.example.", 60, "IN", "TXT", [f'"{i}"' for i in range(3000)])
    async with serving(truncated, tcp=lambda q: [reply(q, texts).to_wire(max_size=65535)]) as (resolver, _):
        answer = await resolver.query("n.example", "TXT")
    assert answer.rrset == ()
    assert answer.lookup.error is not None
    assert (answer.lookup.error.code, answer.lookup.error.fault) == ("dns.too-many-records", Fault.TARGET)


async def test_a_resolver_that_hangs_up_is_asked_once_more() -> None:
    asked = []

    def at_the_second_time(query: dns.message.Message) -> list[bytes]:
        asked.append(query)
        return [reply(query, a_record(query)).to_wire()] if len(asked) == 2 else []

    async with serving(truncated, tcp=at_the_second_time) as (resolver, _):
        lookup = await resolver.lookup("n.example", "A")
    assert lookup.error is None
    assert [record.data for record in lookup.records] == ["198.18.0.1"]


async def test_a_resolver_that_hangs_up_twice_is_there_so_the_fault_is_the_targets() -> None:
    asked = []

    def never(query: dns.message.Message) -> list[bytes]:
        asked.append(query)
        return []

    async with serving(truncated, tcp=never) as (resolver, _):
        lookup = await resolver.lookup("n.example", "A")
    assert lookup.error is not None
    assert (lookup.error.code, lookup.error.fault) == ("dns.hung-up", Fault.TARGET)
    assert len(asked) == 2


async def test_no_resolver_to_connect_to_is_the_perspectives_fault() -> None:
    async with serving(truncated) as (resolver, _):  # nobody listens on TCP
        lookup = await resolver.lookup("n.example", "A")
    assert lookup.error is not None
    assert (lookup.error.code, lookup.error.fault) == ("dns.unreachable", Fault.PERSPECTIVE)


async def test_silence_is_a_timeout_after_a_resend() -> None:
    async with serving(lambda _: [], timeout_s=1.6) as (resolver, server):
        lookup = await resolver.lookup("n.example", "A")
    assert lookup.error is not None
    assert (lookup.error.code, lookup.rcode, lookup.dnssec) == ("dns.timeout", None, DnssecStatus.INDETERMINATE)
    assert len(server.asked) == 2
    assert server.asked[0].id == server.asked[1].id


async def test_no_resolver_is_the_perspectives_fault_and_known_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    resolver = await Resolver.open("127.0.0.1", port, timeout_s=30)
    lookups = await asyncio.wait_for(asyncio.gather(*[resolver.lookup("n.example", "A") for _ in range(3)]), 5)
    await resolver.close()
    for lookup in lookups:
        assert lookup.error is not None
        assert (lookup.error.code, lookup.error.fault) == ("dns.unreachable", Fault.PERSPECTIVE)


async def test_dead_names_do_not_starve_good_ones() -> None:
    def script(query: dns.message.Message) -> list[bytes]:
        return [] if "dead" in str(query.question[0].name) else [reply(query, a_record(query)).to_wire()]

    async with serving(script, timeout_s=30) as (resolver, server):
        dead = []
        for i in range(500):
            dead.append(asyncio.create_task(resolver.lookup(f"dead{i}.example", "A")))
            await server.came.wait()  # one by one, since this server's socket buffer is small
            server.came.clear()
        good = await asyncio.wait_for(asyncio.gather(*[resolver.lookup(f"n{i}.example", "A") for i in range(100)]), 10)
        assert all(lookup.rcode == "NOERROR" for lookup in good)
        assert not any(task.done() for task in dead)
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)


async def test_both_address_types_are_asked_at_once() -> None:
    held: list[tuple[dns.message.Message, list[bytes]]] = []

    def script(query: dns.message.Message) -> list[bytes]:
        held.append((query, []))
        return [reply(q).to_wire() for q, _ in held] if len(held) == 2 else []

    async with serving(script) as (resolver, server):
        aaaa, a = await resolver.addresses("n.example")
    assert (aaaa.lookup.type, a.lookup.type) == ("AAAA", "A")
    assert [q.question[0].rdtype for q in server.asked] == [28, 1]


async def test_a_name_that_cannot_be_asked() -> None:
    async with serving(lambda _: []) as (resolver, server):
        lookup = await resolver.lookup("a" * 64 + ".example", "A")
    assert lookup.error is not None
    assert lookup.error.code == "dns.name"
    assert server.asked == []
