"""Questions to name servers themselves, over real sockets: what counts as an answer, an error, and as nothing at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from appliance.model.observation import ServerSaid
from appliance.net.dns.authoritative import MAX_SOCKETS, Said, ServersClient, read
from appliance.net.dns.message import question
from appliance.net.dns.names import BadName, name_to_wire
from appliance.net.dns.rdata import TYPES

HERE = "127.0.0.53"
LOOPBACK = (ip_network("127.0.0.0/8"),)
ASKED = question(name_to_wire("n.example"), TYPES["CAA"])
Answer = Callable[[dns.message.Message], list[bytes]]


class Server:
    """Answers over UDP, and over TCP where `tcp` is given; `asked` is what came."""

    def __init__(self, udp: Answer | None, tcp: Answer | None) -> None:
        self.udp, self.tcp = udp, tcp
        self.asked: list[dns.message.Message] = []
        self.port = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None: ...

    def error_received(self, error: Exception) -> None: ...

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        assert self.udp is not None
        for answer in self.udp(query):
            self._transport.sendto(answer, addr)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        assert self.tcp is not None
        for answer in self.tcp(query):
            writer.write(len(answer).to_bytes(2) + answer)
        writer.close()


@asynccontextmanager
async def server(udp: Answer | None = None, tcp: Answer | None = None) -> AsyncIterator[tuple[Server, ServersClient]]:
    made = Server(udp, tcp)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HERE, 0))
        made.port = free.getsockname()[1]
    transport = None
    if udp is not None:
        transport, _ = await loop.create_datagram_endpoint(lambda: made, (HERE, made.port))  # type: ignore[type-var]
    listener = None if tcp is None else await asyncio.start_server(made.serve, HERE, made.port)
    try:
        yield made, ServersClient(LOOPBACK, port=made.port)
    finally:
        if transport is not None:
            transport.close()
        if listener is not None:
            listener.close()


async def said(client: ServersClient, *, within_s: float = 3.0, changes: int = 1) -> Said | None:
    asked = client.ask(HERE, "n.example", "CAA", edns=True)
    try:
        async with asyncio.timeout(within_s):
            for _ in range(changes):
                await asked.changed()
    except TimeoutError:
        pass
    finally:
        asked.close()
    return asked.said


def reply(
    query: dns.message.Message, rcode: str = "NOERROR", *, flags: int = dns.flags.AA, data: str | None = None
) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= flags
    response.set_rcode(dns.rcode.from_text(rcode))
    if data is not None:
        response.answer.append(dns.rrset.from_text("n.example.", 60, "IN", "CAA", data))
    return response.to_wire()


def referring(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.authority.append(dns.rrset.from_text("n.example.", 60, "IN", "NS", "ns.n.example."))
    response.additional.append(dns.rrset.from_text("ns.n.example.", 60, "IN", "A", "192.0.9.1"))
    return response.to_wire()


def other_id(message: bytes) -> bytes:
    return bytes([message[0] ^ 1]) + message[1:]


@pytest.mark.parametrize(
    ("answer", "what", "rcode"),
    [
        (lambda q: [reply(q, data='0 issue ";"')], ServerSaid.ANSWER, ""),
        (lambda q: [reply(q)], ServerSaid.ANSWER, ""),
        (lambda q: [reply(q, "NXDOMAIN")], ServerSaid.ANSWER, ""),
        (lambda q: [reply(q, flags=0)], ServerSaid.ANSWER, ""),
        (lambda q: [referring(q)], ServerSaid.REFERRAL, ""),
        *(
            (lambda q, rcode=rcode: [reply(q, rcode)], ServerSaid.ERROR, rcode)
            for rcode in ("SERVFAIL", "REFUSED", "NOTIMP", "FORMERR")
        ),
        (lambda q: [q.to_wire()[:2] + b"\x80\x01" + bytes(8)], ServerSaid.ERROR, "FORMERR"),
        (lambda q: [q.to_wire()[:2] + b"\x80\x00" + bytes(8)], ServerSaid.ODD, ""),
        (lambda q: [reply(q, "NOTAUTH")], ServerSaid.ODD, ""),
        (lambda q: [reply(q, "BADVERS")], ServerSaid.ODD, ""),
        (lambda q: [reply(q)[:-3] + b"\xff" * 200], ServerSaid.ODD, ""),
        (lambda q: [other_id(reply(q))], ServerSaid.ODD, ""),
        (lambda q: [q.to_wire()], ServerSaid.ODD, ""),
    ],
)
async def test_what_a_server_says(answer: Answer, what: ServerSaid, rcode: str) -> None:
    async with server(answer) as (_, client):
        seen = await said(client)
    assert seen is not None
    assert (seen.said, seen.rcode) == (what, rcode)


async def test_the_question_wants_no_recursion_and_is_sent_again() -> None:
    async with server(lambda _: []) as (there, client):
        assert await said(client, within_s=1.5) is None
        assert len(there.asked) == 2
        assert len({query.id for query in there.asked}) == 1
        assert not there.asked[0].flags & (dns.flags.RD | dns.flags.AD)
        assert (there.asked[0].edns, there.asked[0].payload) == (0, 1232)
        plain = client.ask(HERE, "n.example", "SOA", edns=False)
        await asyncio.sleep(0.1)
        plain.close()
        assert there.asked[-1].edns == -1
        assert there.asked[-1].question[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize(
    "first",
    [lambda q: reply(q, "SERVFAIL"), lambda q: other_id(reply(q)), lambda q: other_id(b"\0" * 40 + q.id.to_bytes(2))],
)
async def test_a_real_answer_outweighs_what_came_before_it(first: Callable[[dns.message.Message], bytes]) -> None:
    async with server(lambda q: [first(q), reply(q)]) as (_, client):
        seen = await said(client, within_s=0.3, changes=2)
    assert seen is not None
    assert seen.said is ServerSaid.ANSWER


async def test_nothing_outweighs_a_real_answer() -> None:
    async with server(lambda q: [reply(q), reply(q, "SERVFAIL")]) as (_, client):
        seen = await said(client, within_s=0.3, changes=2)
    assert seen is not None
    assert seen.said is ServerSaid.ANSWER


async def test_a_closed_port_is_one_over_tcp_too() -> None:
    async with server() as (_, client):
        seen = await said(client)
    assert seen is not None
    assert seen.said is ServerSaid.CLOSED


async def test_an_icmp_error_alone_is_not_believed() -> None:
    async with server(None, lambda q: [reply(q, data='0 issue ";"')]) as (_, client):
        seen = await said(client)
    assert seen is not None
    assert seen.said is ServerSaid.ANSWER


async def test_a_port_that_is_closed_for_udp_alone_shows_nothing() -> None:
    async with server(None, lambda _: []) as (_, client):
        seen = await said(client)
    assert seen is not None
    assert seen.said is ServerSaid.UNREACHABLE


async def test_what_is_cut_off_is_asked_for_over_tcp() -> None:
    def cut(query: dns.message.Message) -> list[bytes]:
        return [reply(query, flags=dns.flags.TC)]

    for tcp, what in (
        (lambda q: [reply(q, data='0 issue ";"')], ServerSaid.ANSWER),
        (lambda q: [reply(q, "SERVFAIL")], ServerSaid.ERROR),
        (cut, ServerSaid.ODD),
        (lambda q: [other_id(reply(q))], ServerSaid.ODD),
        (None, ServerSaid.ODD),
    ):
        async with server(cut, tcp) as (_, client):
            seen = await said(client)
        assert seen is not None
        assert seen.said is what


@pytest.mark.parametrize("address", ["127.0.0.53", "10.0.0.1", "::1", "fe80::1%lo", "::ffff:198.51.100.1", "224.0.0.1"])
async def test_a_special_purpose_address_is_never_sent_to(address: str) -> None:
    client = ServersClient()
    assert client.refused(address) is not None
    with pytest.raises(PermissionError):
        client.ask(address, "n.example", "CAA", edns=True)


async def test_bounds() -> None:
    client = ServersClient(LOOPBACK)
    with pytest.raises(BadName):
        client.ask(HERE, "a b.example", "CAA", edns=True)
    client._open = MAX_SOCKETS
    with pytest.raises(OSError, match="questions to name servers are open"):
        client.ask(HERE, "n.example", "CAA", edns=True)


@pytest.mark.parametrize("length", range(40))
def test_any_bytes_are_read(length: int) -> None:
    for message in (b"\xff" * length, b"\0" * length, bytes(range(length)), b"\0\0\x80\0\0\1" + bytes(length)):
        seen = read(message, ASKED)
        assert seen is None or seen.said is not ServerSaid.ANSWER


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
async def test_an_error_over_udp_alone_is_outweighed_by_an_answer_over_tcp(rcode: str) -> None:
    """As where a server limits what it answers over UDP to an address whose questions somebody forges."""
    async with server(lambda q: [reply(q, rcode)], lambda q: [reply(q, data='0 issue ";"')]) as (_, client):
        seen = await said(client)
    assert seen is not None
    assert seen.said is ServerSaid.ANSWER
    async with server(lambda q: [reply(q, rcode)], lambda q: [reply(q, "SERVFAIL")]) as (_, client):
        seen = await said(client)
    assert seen is not None
    assert (seen.said, seen.rcode) == (ServerSaid.ERROR, rcode)


async def test_what_is_silent_over_udp_is_asked_over_tcp() -> None:
    async with server(lambda _: [], lambda q: [reply(q, data='0 issue ";"')]) as (made, client):
        seen = await said(client, within_s=6.0)
    assert len(made.asked) >= 2
    assert seen is not None
    assert seen.said is ServerSaid.ANSWER


@pytest.mark.parametrize("tcp", [None, lambda _: [], lambda q: [reply(q, "SERVFAIL")]])
async def test_what_does_not_answer_over_tcp_either_stays_silent(tcp: Answer | None) -> None:
    async with server(lambda _: [], tcp) as (_, client):
        assert await said(client, within_s=4.5) is None
