"""One round of probes against a beacon (V, I, V over one IP version): measures and says what it saw; judges nothing."""

from __future__ import annotations

import asyncio
import errno
import secrets
import ssl
import time
from datetime import UTC, datetime
from typing import Final

import msgspec

from appliance.config.schema import Settings
from appliance.errors import UNDECODABLE, ApplianceError
from appliance.model.rov import Probe, ProbeOutcome, RoundRequest, RoundSeen, Target
from appliance.net.dns.resolver import Asks
from appliance.net.http.client import request_bytes
from appliance.net.http.connect import TcpConnector, elapsed_us, start_tls
from appliance.net.http.exchange import Answer, Exchange
from appliance.net.http.url import RefusedUrl, Url, parse
from appliance.net.special_purpose import refused
from appliance.net.trace import StepFailed

_MAX_BODY_BYTES: Final = 4096
_MAX_TEXT: Final = 64
_MAX_DETAIL: Final = 200
_ADDRESS_RECORD: Final = {4: "A", 6: "AAAA"}
# The network says itself that it has no route; a refusal (RST) is somebody's answer instead.
_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})


class NotTheBeacon(ApplianceError):
    """Something answered that does not prove to be the beacon."""


class Prober:
    """Runs rounds, each probe on a connection of its own: fresh source port, random path, nothing kept or cached but DNS."""

    def __init__(self, settings: Settings, resolver: Asks) -> None:
        self._resolver = resolver
        self._exceptions = settings.targets.special_purpose_exceptions
        self._user_agent = settings.targets.user_agent
        self._ca_file = settings.rov.ca_file
        self._tls: ssl.SSLContext | None = None

    async def run(self, request: RoundRequest) -> RoundSeen:
        """The round that `request` asks for. Takes at most its limits, and the resolver's for the names."""
        started_at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = await self._control(request)
        invalid = await self._probe(request.invalid, request.version, request.invalid_limit_ms / 1000)
        after = await self._control(request)
        return RoundSeen(
            request.request_id, request.perspective, request.version, started_at, invalid, before=before, after=after
        )

    async def _control(self, request: RoundRequest) -> Probe | None:
        if request.valid is None:
            return None
        return await self._probe(request.valid, request.version, request.valid_limit_ms / 1000)

    async def _probe(self, target: Target, version: int, limit_s: float) -> Probe:
        try:
            url = parse(target.url.replace("{nonce}", secrets.token_hex(8)))
            address = await self._address(url, version)
        except (RefusedUrl, NotTheBeacon) as error:
            return Probe(ProbeOutcome.UNRESOLVED, None, 0, str(error)[:_MAX_DETAIL])
        began_ns = time.monotonic_ns()
        try:
            return await self._reach(target, url, address, limit_s, began_ns)
        except (StepFailed, NotTheBeacon) as error:
            outcome, detail = _of_failure(error), str(error)
        except TimeoutError:
            outcome, detail = ProbeOutcome.BLOCKED, f"no connection within {limit_s:g} s"
        except OSError as error:
            outcome = ProbeOutcome.BLOCKED if error.errno in _NO_ROUTE else ProbeOutcome.AMBIGUOUS
            detail = error.strerror or type(error).__name__
        return Probe(outcome, address, elapsed_us(began_ns), detail[:_MAX_DETAIL])

    async def _address(self, url: Url, version: int) -> str:
        if url.is_address:
            candidates = [url.host]
        else:
            reply = await self._resolver.query(url.host, _ADDRESS_RECORD[version])
            if reply.lookup.error is not None:
                raise NotTheBeacon(f"{url.host}: {reply.lookup.error.message}")
            candidates = [record.data for record in reply.lookup.records]
        for candidate in candidates:
            if (":" in candidate) is (version == 6) and refused(candidate, self._exceptions) is None:
                return candidate
        raise NotTheBeacon(f"{url.host} has no IPv{version} address that may be contacted")

    async def _reach(self, target: Target, url: Url, address: str, limit_s: float, began_ns: int) -> Probe:
        request = request_bytes(url, self._user_agent, ())
        async with asyncio.timeout(limit_s):
            transport, exchange = await TcpConnector().connect(
                lambda: Exchange(request, _MAX_BODY_BYTES, limit_s), address, url.port
            )
        try:
            if url.scheme == "https":
                transport = await start_tls(transport, exchange, self._verifying(), url.host, limit_s)
            exchange.send(transport)
            members = _members(await exchange.answer(), target)
        finally:
            transport.abort()
        return Probe(
            ProbeOutcome.REACHED,
            address,
            elapsed_us(began_ns),
            source=members.get(target.address_member or ""),
            site=members.get(target.site_member or ""),
        )

    def _verifying(self) -> ssl.SSLContext:
        """Made at first use: reading the certificates of all CAs takes a while. Unlike a check's, it verifies."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        return self._tls


def _of_failure(error: StepFailed | NotTheBeacon) -> ProbeOutcome:
    """An established connection never ends by an ICMP error (RFC 1122 section 4.2.3.9): where one does, the event loop took
    a connection that failed for one that was made."""
    cause = error.__cause__
    unreachable = isinstance(cause, OSError) and cause.errno in _NO_ROUTE
    return ProbeOutcome.BLOCKED if unreachable else ProbeOutcome.AMBIGUOUS


def _members(answer: Answer, target: Target) -> dict[str, str]:
    """The text and integer members of the beacon's answer. Raises `NotTheBeacon` where it does not prove to be one."""
    if answer.status != 200 or answer.error is not None or answer.body_cut:
        raise NotTheBeacon(f"status {answer.status}, or an answer that is not whole")
    try:
        document = msgspec.json.decode(answer.body, type=dict[str, object])
    except UNDECODABLE as error:
        raise NotTheBeacon("the answer is no JSON object") from error
    members = {name: str(value)[:_MAX_TEXT] for name, value in document.items() if isinstance(value, str | int)}
    for name, wanted in target.members:
        if name not in members or (wanted is not None and members[name] != wanted):
            raise NotTheBeacon(f"the answer's member {name!r} is not the beacon's")
    return members
