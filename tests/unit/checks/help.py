"""A context whose resolver and web server are scripted."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.checks.context import CheckContext
from appliance.model.check import AnyCheck, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CheckError
from appliance.net.dns.authoritative import AsksServers, ServersClient
from appliance.policy.delegation import DelegationRules
from tests.unit.exceptions import EXCEPTIONS
from tests.unit.net.web import FakeResolver, Loopback, alpn_client, client

Table = dict[tuple[str, str], list[str] | CheckError | list[bytes]]
NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def context(
    table: Table | None = None,
    connector: Loopback | None = None,
    *,
    delegation: DelegationRules | None = None,
    doubts: tuple[str, ...] = (),
    forgets: bool = True,
    resolver: FakeResolver | None = None,
    versions: frozenset[int] = frozenset({4, 6}),
    servers: AsksServers | None = None,
    silence_s: float = 5.0,
) -> CheckContext:
    resolver = resolver or FakeResolver(table or {})
    connector = connector or Loopback({})

    async def forget(name: str) -> bool:
        return forgets

    return CheckContext(
        "p-one",
        resolver,
        client(resolver, connector),
        alpn_client(resolver, connector),
        delegation or DelegationRules(),
        lambda: doubts,
        forget,
        versions,
        EXCEPTIONS,
        servers or ServersClient(),
        silence_s,
        now=lambda: NOW,
        egress_addresses=lambda: ("198.18.9.9",),
    )


def asked(ctx: CheckContext) -> list[tuple[str, str]]:
    assert isinstance(ctx.resolver, FakeResolver)
    return ctx.resolver.asked


def name(value: str, *, wildcard: bool = False) -> Identifier:
    return Identifier(IdentifierType.DNS, value, wildcard, ("*." if wildcard else "") + value)


def address(value: str) -> Identifier:
    return Identifier(IdentifierType.IP, value, False, value)


def request(
    identifier: Identifier, check: AnyCheck, *, deadline_ms: int = 5000, perspective: str = "p-one"
) -> CheckRequest:
    return CheckRequest("r-1", perspective, identifier, check, deadline_ms)
