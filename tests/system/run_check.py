"""Runs one CAA or look-up question against the resolver on loopback, in the namespace it is started in; prints JSON."""

from __future__ import annotations

import sys
from ipaddress import ip_network

import msgspec
import uvloop

from appliance.checks.context import CheckContext
from appliance.checks.lookup_failure import prove_insecure
from appliance.checks.run import run
from appliance.model.check import CaaCheck, CertificateType, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.alpn import ACME_TLS_1, AlpnClient
from appliance.net.dns.authoritative import ServersClient
from appliance.net.dns.resolver import Resolver
from appliance.net.http.client import HttpClient, HttpLimits
from appliance.net.http.connect import TcpConnector, client_context
from appliance.net.trace import Trace
from tests.system.validating_resolver import PORT

LIMITS = HttpLimits(3, 3, 3)


async def _forgotten(name: str) -> bool:
    return True


async def main(what: str, name: str, rdtype: str) -> None:
    resolver = await Resolver.open("127.0.0.1", PORT, timeout_s=10)
    connector = TcpConnector()
    http = HttpClient(resolver, LIMITS, exceptions=(), user_agent="x", connector=connector, tls=client_context())
    alpn = AlpnClient(resolver, LIMITS, exceptions=(), connector=connector, tls=client_context(ACME_TLS_1))
    context = CheckContext(
        "p",
        resolver,
        http,
        alpn,
        doubts=lambda: (),
        forget=_forgotten,
        versions=frozenset({4, 6}),
        servers=ServersClient([ip_network("198.18.0.0/15")]),
    )
    answer: object
    if what == "lookup":
        answer = await resolver.lookup(name, rdtype)
    elif what == "insecure":
        answer = await prove_insecure(name, context, Trace())
    else:
        parameters = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",), allow_lookup_failure=True)
        identifier = Identifier(IdentifierType.DNS, name, False, name)
        answer = await run(CheckRequest("r", "p", identifier, parameters, 5_000), context)
    sys.stdout.write(msgspec.json.encode(answer).decode())
    await resolver.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
