"""What every check of one worker shares: its resolver, its HTTP client, its limits and its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from appliance.config.schema import Settings
from appliance.net.alpn import ACME_TLS_1, AlpnClient
from appliance.net.dns.authoritative import AsksServers, ServersClient
from appliance.net.dns.resolver import Asks, AsksDelegation, Resolver
from appliance.net.http.client import HttpClient, HttpLimits
from appliance.net.http.connect import TcpConnector, client_context
from appliance.net.validatable import NONE, Exceptions
from appliance.policy.delegation import DelegationRules

_DELEGATION: Final = DelegationRules()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _none_seen() -> tuple[str, ...]:
    return ()


def _proofs_unknown() -> tuple[str, ...]:
    return ("whether the perspective's proofs hold is not known",)


async def _forgets_nothing(name: str) -> bool:  # noqa: ARG001 -- the signature is that of `CheckContext.forget`
    return False


class ChecksResolver(Asks, AsksDelegation, Protocol):
    """What checks need of a resolver in all."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """One per worker process, made by `open_context`; tests build their own with a resolver that they script.

    `perspective`: the code that every observation carries. `egress_addresses`: called once per observation. `doubts`:
    why the perspective's own proofs (path, exit) do not hold at the moment, empty where they do. `forget`: makes the
    resolver drop what it has cached of CAA at a name, so that it asks anew; False where it could not be made to.
    `exceptions`: what may be validated although reserved.
    `versions`: the IP versions by which the perspective reaches the Internet; empty: not known. `servers`: asks name servers
    directly where a look-up failed; `silence_s`: how long one must be silent until that is a failure, in seconds: as long as
    the resolver is waited for.
    """

    perspective: str
    resolver: ChecksResolver
    http: HttpClient
    alpn: AlpnClient
    delegation: DelegationRules = _DELEGATION
    doubts: Callable[[], tuple[str, ...]] = _proofs_unknown
    forget: Callable[[str], Awaitable[bool]] = _forgets_nothing
    versions: frozenset[int] = frozenset()
    exceptions: Exceptions = NONE
    servers: AsksServers = field(default_factory=ServersClient)
    silence_s: float = 5.0
    now: Callable[[], datetime] = _utc_now
    egress_addresses: Callable[[], tuple[str, ...]] = _none_seen


async def open_context(
    perspective: str,
    settings: Settings,
    egress_addresses: Callable[[], tuple[str, ...]] = _none_seen,
    *,
    doubts: Callable[[], tuple[str, ...]] = _proofs_unknown,
    forget: Callable[[str], Awaitable[bool]] = _forgets_nothing,
    delegation: DelegationRules = _DELEGATION,
    versions: frozenset[int] = frozenset(),
) -> CheckContext:
    """Connect to the resolver on the namespace's loopback and make what checks share. Needs a running event loop."""
    limits = HttpLimits(settings.limits.connect_s, settings.limits.tls_s, settings.limits.response_s)
    exceptions = settings.targets.special_purpose_exceptions
    connector = TcpConnector()
    resolver = await Resolver.open("127.0.0.1", settings.resolver.port, timeout_s=settings.limits.dns_query_s)
    http = HttpClient(
        resolver,
        limits,
        exceptions=exceptions,
        user_agent=settings.targets.user_agent,
        connector=connector,
        tls=client_context(),
    )
    alpn = AlpnClient(resolver, limits, exceptions=exceptions, connector=connector, tls=client_context(ACME_TLS_1))
    return CheckContext(
        perspective,
        resolver,
        http,
        alpn,
        delegation,
        doubts,
        forget,
        versions,
        Exceptions.of(settings.targets),
        ServersClient(exceptions),
        settings.limits.dns_query_s,
        egress_addresses=egress_addresses,
    )
