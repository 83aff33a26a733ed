"""Scripted web servers on loopback, and a client whose connections all end there."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TypeVar

import dns.rdata

from appliance.model.observation import CheckError, DnssecStatus, Lookup, Record
from appliance.net.alpn import ACME_TLS_1, AlpnClient
from appliance.net.dns.rdata import TYPES, presentation
from appliance.net.dns.resolver import DelegationReply, Reply
from appliance.net.http.client import HttpClient, HttpLimits
from appliance.net.http.connect import client_context

P = TypeVar("P", bound=asyncio.BaseProtocol)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LAB = (ip_network("198.18.0.0/15"), ip_network("2001:db8::/32"))
V4, V6 = "198.18.0.1", "2001:db8::1"


class FakeResolver:
    """Answers from a table of `(name, type)` to presentation data or an error; all else is NXDOMAIN, but for top-level
    domains: only `nosuchtld` does not exist."""

    def __init__(self, table: dict[tuple[str, str], list[str] | CheckError | list[bytes]]) -> None:
        self.table = table
        self.asked: list[tuple[str, str]] = []
        self.ad = False

    async def query(self, name: str, rdtype: str) -> Reply:
        self.asked.append((name, rdtype))
        found = self.table.get((name, rdtype))
        if isinstance(found, CheckError):
            bogus = DnssecStatus.BOGUS if found.code == "dns.bogus" else DnssecStatus.INDETERMINATE
            return Reply(Lookup(name, rdtype, "SERVFAIL", ad=False, dnssec=bogus, error=found))
        there = any(n.endswith(name) for n, _ in self.table) or ("." not in name and name != "nosuchtld")
        rcode = "NOERROR" if found is not None or there else "NXDOMAIN"
        status = DnssecStatus.SECURE if self.ad else DnssecStatus.INSECURE
        data = [_both(rdtype, item) for item in found or ()]
        records = tuple(Record(name, rdtype, 60, text) for text, _ in data)
        return Reply(Lookup(name, rdtype, rcode, self.ad, status, records), tuple(raw for _, raw in data))

    async def delegation(self, name: str) -> DelegationReply:
        """From the table's DS: an error, "denied" at a zone cut, "no cut", "opt-out", or records; all else is NXDOMAIN."""
        self.asked.append((name, "DS"))
        found = self.table.get((name, "DS"))
        if isinstance(found, CheckError):
            lookup = Lookup(name, "DS", "SERVFAIL", ad=False, dnssec=DnssecStatus.INDETERMINATE, error=found)
            return DelegationReply(lookup, denied=False)
        ad = found != ["opt-out"]
        lookup = Lookup(name, "DS", "NOERROR" if found else "NXDOMAIN", ad=ad, dnssec=DnssecStatus.SECURE)
        return DelegationReply(lookup, denied=found == ["denied"])

    async def addresses(self, name: str) -> tuple[Reply, Reply]:
        return await self.query(name, "AAAA"), await self.query(name, "A")


def _both(rdtype: str, item: str | bytes) -> tuple[str, bytes]:
    if isinstance(item, bytes):
        return presentation(TYPES[rdtype], item), item
    rdata = dns.rdata.from_text("IN", rdtype, item, origin=None, relativize=False)
    wire = rdata.to_wire()
    assert wire is not None
    return rdata.to_text(), wire


class Loopback:
    """A connector that maps addresses to local ports; what it does not know is refused. `connected` is what was asked."""

    def __init__(self, ports: dict[tuple[str, int], int]) -> None:
        self.ports = ports
        self.connected: list[tuple[str, int]] = []

    async def connect(self, factory: Callable[[], P], address: str, port: int) -> tuple[asyncio.Transport, P]:
        self.connected.append((address, port))
        local = self.ports.get((address, port))
        if local is None:
            raise ConnectionRefusedError(111, "Connection refused")
        if local == 0:
            await asyncio.Event().wait()
        return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", local)


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*responses: bytes, requests: list[bytes] | None = None) -> Handler:
    """Each request gets the next of the responses (the last again and again), then the connection is closed."""
    left = list(responses)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    return handle


def client(
    resolver: FakeResolver, connector: Loopback, *, limits: HttpLimits | None = None, tls: ssl.SSLContext | None = None
) -> HttpClient:
    return HttpClient(
        resolver,
        limits or HttpLimits(5, 5, 5),
        exceptions=LAB,
        user_agent="agent/1",
        connector=connector,
        tls=tls or client_context(),
    )


def alpn_client(resolver: FakeResolver, connector: Loopback, *, limits: HttpLimits | None = None) -> AlpnClient:
    return AlpnClient(
        resolver, limits or HttpLimits(5, 5, 5), exceptions=LAB, connector=connector, tls=client_context(ACME_TLS_1)
    )
