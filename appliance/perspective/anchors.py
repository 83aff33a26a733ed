"""The outside anchors: servers that tell which source address they see, asked over IPv4 and IPv6 apart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec

from appliance.config.schema import Settings
from appliance.errors import ApplianceError
from appliance.net.dns.resolver import Asks
from appliance.net.http.client import request_bytes
from appliance.net.http.connect import TcpConnector, client_context, connect, start_tls
from appliance.net.http.exchange import Answer, Exchange
from appliance.net.http.url import Url, parse
from appliance.net.special_purpose import refused
from appliance.net.targets import Target
from appliance.net.trace import StepFailed
from appliance.perspective.assignment import Assignment

_MAX_BODY_BYTES = 256
_ADDRESS_RECORD = {4: "A", 6: "AAAA"}
_log = logging.getLogger(__name__)


class Sighting(msgspec.Struct, frozen=True):
    """What one anchor saw over one IP version. `at_s`: monotonic seconds; `at`: UTC."""

    address: str
    at_s: float
    at: datetime


class AnchorFailed(ApplianceError):
    """An anchor could not be asked, or its answer is no address."""


class Eye(msgspec.Struct, frozen=True):
    """One anchor over one IP version."""

    url: Url
    version: int

    def __str__(self) -> str:
        return f"{self.url} over IPv{self.version}"


def eyes(urls: Iterable[str], versions: frozenset[int]) -> tuple[Eye, ...]:
    """Every way to ask the anchors: a name over each IP version of the perspective, an address over its own alone."""
    parsed = [parse(url) for url in urls]
    return tuple(
        Eye(url, version)
        for url in parsed
        for version in sorted(versions)
        if not url.is_address or ip_address(url.host).version == version
    )


def judge(
    asked: Iterable[Eye], sightings: Mapping[Eye, Sighting], expected: frozenset[str], now_s: float, valid_s: float
) -> tuple[str, ...]:
    """Why the perspective's exit is not proven; empty where it is.

    For each IP version that any anchor can be asked over, at least one must have seen an expected address within
    `valid_s`, so that one dead anchor does not stop the perspectives; and none may last have seen another address.
    """
    reasons = []
    for version in sorted({eye.version for eye in asked}):
        valid = {
            eye: seen for eye, seen in sightings.items() if eye.version == version and now_s - seen.at_s <= valid_s
        }
        if not valid:
            reasons.append(f"no anchor has seen its IPv{version} egress address")
        reasons += [
            f"anchor {eye} saw {seen.address}, which is not a configured egress address"
            for eye, seen in valid.items()
            if seen.address not in expected
        ]
    return tuple(reasons)


class Anchors:
    """Asks the anchors and remembers what each saw."""

    def __init__(self, settings: Settings, assignment: Assignment, resolver: Asks) -> None:
        self._limits = settings.limits
        self._exceptions = settings.targets.special_purpose_exceptions
        self._user_agent = settings.targets.user_agent
        self._assignment = assignment
        self._resolver = resolver
        self._tls: ssl.SSLContext | None = None
        self._eyes = eyes((anchor.url for anchor in settings.anchors), assignment.versions)
        self._sightings: dict[Eye, Sighting] = {}
        self._failures: dict[Eye, str] = {}

    def reasons(self) -> tuple[str, ...]:
        """Why the exit is not proven; empty where it is, or where no anchor is configured."""
        now_s = asyncio.get_running_loop().time()
        found = judge(
            self._eyes, self._sightings, self._assignment.egress_addresses, now_s, self._limits.anchor_valid_s
        )
        return found + tuple(f"anchor {eye}: {text}" for eye, text in self._failures.items()) if found else ()

    def addresses(self) -> tuple[str, ...]:
        """The addresses that the anchors last saw, IPv4 first."""
        seen = {sighting.address for sighting in self._valid()}
        return tuple(sorted(seen, key=lambda address: (":" in address, address)))

    def seen_at(self) -> str | None:
        """When an anchor last answered, RFC 3339 UTC."""
        valid = self._valid()
        return max(sighting.at for sighting in valid).strftime("%Y-%m-%dT%H:%M:%SZ") if valid else None

    async def ask_all(self) -> None:
        """Asks every anchor once, all at the same time."""
        await asyncio.gather(*(self._ask(eye) for eye in self._eyes))

    def _valid(self) -> list[Sighting]:
        oldest_s = asyncio.get_running_loop().time() - self._limits.anchor_valid_s
        return [sighting for sighting in self._sightings.values() if sighting.at_s >= oldest_s]

    async def _ask(self, eye: Eye) -> None:
        try:
            answer = await self._get(eye, await self._address(eye))
            address = _address_in(answer)
        except (AnchorFailed, StepFailed) as error:
            self._failed(eye, str(error))
            return
        self._failures.pop(eye, None)
        self._sightings[eye] = Sighting(address, asyncio.get_running_loop().time(), datetime.now(UTC))

    def _failed(self, eye: Eye, text: str) -> None:
        if self._failures.get(eye) != text:
            _log.warning("anchor %s: %s", eye, text)
        self._failures[eye] = text

    async def _address(self, eye: Eye) -> str:
        if eye.url.is_address:
            candidates = [eye.url.host]
        else:
            reply = await self._resolver.query(eye.url.host, _ADDRESS_RECORD[eye.version])
            if reply.lookup.error is not None:
                raise AnchorFailed(reply.lookup.error.message)
            candidates = [record.data for record in reply.lookup.records]
        for candidate in candidates:
            if refused(candidate, self._exceptions) is None:
                return candidate
        raise AnchorFailed(f"has no IPv{eye.version} address that may be contacted")

    async def _get(self, eye: Eye, address: str) -> Answer:
        request = request_bytes(eye.url, self._user_agent, ())
        transport, exchange, _ = await connect(
            TcpConnector(),
            lambda: Exchange(request, _MAX_BODY_BYTES, self._limits.response_s),
            Target(eye.url.port, (address,), ()),
            self._limits.connect_s,
            lambda _: None,
        )
        try:
            if eye.url.scheme == "https":
                self._tls = self._tls or client_context()
                name = None if eye.url.is_address else eye.url.host
                transport = await start_tls(transport, exchange, self._tls, name, self._limits.tls_s)
            exchange.send(transport)
            return await exchange.answer()
        finally:
            transport.abort()


def _address_in(answer: Answer) -> str:
    if answer.status != 200 or answer.error is not None or answer.body_cut:
        raise AnchorFailed(f"answered with status {answer.status}, or more than an address")
    try:
        return str(ip_address(answer.body.decode("ascii").strip()))
    except ValueError:
        raise AnchorFailed(f"answered {answer.body[:64]!r}, which is no address") from None
