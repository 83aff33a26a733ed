"""The outside anchors: servers that tell which source address they see, asked over IPv4 and IPv6 apart.

Only an `https://` anchor whose certificate verifies can prove the exit. Whoever is on the path, the egress node first of all, can
forge every other answer. Such an answer still counts against the perspective if it names another address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec

from appliance.config.schema import AnchorConfig, Settings
from appliance.errors import ApplianceError
from appliance.net.authorities import read_authorities
from appliance.net.dns.resolver import Asks
from appliance.net.http.client import request_bytes
from appliance.net.http.connect import (
    TcpConnector,
    certificate_problem,
    client_context,
    connect,
    start_tls,
    verifying_context,
)
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
    """What one anchor saw over one IP version. `at_s`: monotonic seconds; `at`: UTC. `authenticated`: its certificate verified."""

    address: str
    at_s: float
    at: datetime
    authenticated: bool


class AnchorFailed(ApplianceError):
    """An anchor could not be asked, or its answer is no address."""


class NotVerified(AnchorFailed):
    """The anchor's certificate does not verify."""


class Eye(msgspec.Struct, frozen=True):
    """One anchor over one IP version."""

    url: Url
    version: int

    @property
    def authenticates(self) -> bool:
        """Whether a certificate can show that the answer is the anchor's own."""
        return self.url.scheme == "https"

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


class Sightings:
    """The last sightings of every eye: the last one with a verified certificate, and the last one without.

    The two are kept apart, so that a forged answer can neither take the place of a proof nor lift a contradiction.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[Eye, bool], Sighting] = {}

    def add(self, eye: Eye, sighting: Sighting) -> None:
        """Replace the eye's sighting of that kind. An authenticated one also ends the eye's unauthenticated one."""
        self._last[eye, sighting.authenticated] = sighting
        if sighting.authenticated:
            self._last.pop((eye, False), None)

    def since(self, oldest_s: float) -> list[tuple[Eye, Sighting]]:
        """Return those that are not older than `oldest_s`, monotonic seconds."""
        return [(eye, sighting) for (eye, _), sighting in self._last.items() if sighting.at_s >= oldest_s]


def judge(
    asked: Iterable[Eye], sightings: Sightings, expected: frozenset[str], now_s: float, valid_s: float
) -> tuple[str, ...]:
    """Return why the perspective must not corroborate by what the anchors saw; empty if nothing is against it.

    For each IP version that any anchor can be asked over, at least one must have seen the perspective within `valid_s`, so that
    one dead anchor does not stop the perspectives; an authenticated sighting, if any anchor can give one. None may last have seen
    an address that is not in `expected`.
    """
    reasons = []
    for version in sorted({eye.version for eye in asked}):
        provable = any(eye.authenticates for eye in asked if eye.version == version)
        valid = [(eye, seen) for eye, seen in sightings.since(now_s - valid_s) if eye.version == version]
        if not any(seen.authenticated or not provable for _, seen in valid):
            which = "no anchor whose certificate verifies" if provable else "no anchor"
            reasons.append(f"{which} has seen its IPv{version} egress address")
        reasons += [
            f"anchor {eye} saw {seen.address}, which is not a configured egress address"
            for eye, seen in valid
            if seen.address not in expected
        ]
    return tuple(reasons)


class Anchors:
    """Asks the anchors and remembers what each saw. Raises `ConfigError` if a `ca_file` cannot be used."""

    def __init__(self, settings: Settings, assignment: Assignment, resolver: Asks) -> None:
        self._limits = settings.limits
        self._exceptions = settings.targets.special_purpose_exceptions
        self._user_agent = settings.targets.user_agent
        self._assignment = assignment
        self._resolver = resolver
        self._authorities = _authorities(settings.anchors)
        self._verifying: dict[str | None, ssl.SSLContext] = {}
        self._eyes = eyes((anchor.url for anchor in settings.anchors), assignment.versions)
        self._sightings = Sightings()
        self._failures: dict[Eye, str] = {}

    def reasons(self) -> tuple[str, ...]:
        """Return why the anchors stand against this perspective; empty if they do not, or if no anchor is configured."""
        now_s = asyncio.get_running_loop().time()
        found = judge(
            self._eyes, self._sightings, self._assignment.egress_addresses, now_s, self._limits.anchor_valid_s
        )
        return found + tuple(f"anchor {eye}: {text}" for eye, text in self._failures.items()) if found else ()

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses that the anchors last saw, IPv4 first. Some may be forged."""
        return _in_order(sighting.address for sighting in self._valid())

    def authenticated_addresses(self) -> tuple[str, ...]:
        """Return the addresses that anchors with a verified certificate last saw, IPv4 first."""
        return _in_order(sighting.address for sighting in self._valid() if sighting.authenticated)

    def seen_at(self) -> str | None:
        """Return when an anchor last answered, RFC 3339 UTC: one whose certificate verified, if there is any."""
        valid = self._valid()
        valid = [sighting for sighting in valid if sighting.authenticated] or valid
        return max(sighting.at for sighting in valid).strftime("%Y-%m-%dT%H:%M:%SZ") if valid else None

    async def ask_all(self) -> None:
        """Asks every anchor once, all at the same time."""
        await asyncio.gather(*(self._ask(eye) for eye in self._eyes))

    def _valid(self) -> list[Sighting]:
        oldest_s = asyncio.get_running_loop().time() - self._limits.anchor_valid_s
        return [sighting for _, sighting in self._sightings.since(oldest_s)]

    async def _ask(self, eye: Eye) -> None:
        try:
            address = await self._address(eye)
            await self._look(eye, address, verify=eye.authenticates)
        except NotVerified as error:
            self._failed(eye, str(error))
            with contextlib.suppress(AnchorFailed, StepFailed):
                await self._look(eye, address, verify=False)
        except (AnchorFailed, StepFailed) as error:
            self._failed(eye, str(error))
        else:
            self._failures.pop(eye, None)

    async def _look(self, eye: Eye, address: str, *, verify: bool) -> None:
        seen = _address_in(await self._get(eye, address, verify=verify))
        sighting = Sighting(seen, asyncio.get_running_loop().time(), datetime.now(UTC), authenticated=verify)
        self._sightings.add(eye, sighting)

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

    async def _get(self, eye: Eye, address: str, *, verify: bool) -> Answer:
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
                context = self._context(eye) if verify else client_context()
                transport = await start_tls(transport, exchange, context, eye.url.host, self._limits.tls_s)
            exchange.send(transport)
            return await exchange.answer()
        except StepFailed as error:
            problem = certificate_problem(error)
            if problem is None:
                raise
            text = f"its certificate does not verify: {problem}; set ca_file or replace the certificate"
            raise NotVerified(text) from error
        finally:
            transport.abort()

    def _context(self, eye: Eye) -> ssl.SSLContext:
        """Make it at first use: reading the system's roots takes a while."""
        authorities = self._authorities[eye.url]
        if authorities not in self._verifying:
            self._verifying[authorities] = verifying_context(authorities)
        return self._verifying[authorities]


def _authorities(anchors: Iterable[AnchorConfig]) -> dict[Url, str | None]:
    """Return what each anchor's `ca_file` holds, None for the system's roots."""
    return {
        parse(anchor.url): None
        if anchor.ca_file is None
        else read_authorities(anchor.ca_file, f"anchors.{index}.ca_file")
        for index, anchor in enumerate(anchors)
    }


def _in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(addresses), key=lambda address: (":" in address, address)))


def _address_in(answer: Answer) -> str:
    if answer.status != 200 or answer.error is not None or answer.body_cut:
        raise AnchorFailed(f"answered with status {answer.status}, or more than an address")
    try:
        return str(ip_address(answer.body.decode("ascii").strip()))
    except ValueError:
        raise AnchorFailed(f"answered {answer.body[:64]!r}, which is no address") from None
