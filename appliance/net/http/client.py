"""GET with redirects, by the rules of BR 3.2.2.4.18 and 3.2.2.4.19: the client of every check that reads a website."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import msgspec

from appliance.model.observation import Connection, Fault
from appliance.net.dns.resolver import Asks
from appliance.net.http.connect import Connector, connect, start_tls, with_tls
from appliance.net.http.exchange import Answer, Exchange
from appliance.net.http.url import RefusedUrl, Url, resolve
from appliance.net.special_purpose import IpNetwork
from appliance.net.targets import find_target
from appliance.net.trace import HopTrace, StepFailed, Trace
from appliance.policy.http_headers import header_problem, request_head

REDIRECTS: Final = frozenset({301, 302, 307, 308})
MAX_REDIRECTS: Final = 10
STEP_REDIRECT: Final = "http.redirect"
_LOCATION_CHARS_KEPT: Final = 512


class HttpLimits(msgspec.Struct, frozen=True):
    """Seconds, each for one step of one hop: the connection, the TLS handshake, the response from request to last byte."""

    connect_s: float
    tls_s: float
    response_s: float


class HttpClient:
    """One per process: shares the TLS context, and nothing else, between requests. No cookies, proxies or kept connections."""

    def __init__(
        self,
        resolver: Asks,
        limits: HttpLimits,
        *,
        exceptions: tuple[IpNetwork, ...],
        user_agent: str,
        connector: Connector,
        tls: ssl.SSLContext,
    ) -> None:
        self._resolver = resolver
        self._limits = limits
        self._exceptions = exceptions
        self._user_agent = user_agent
        self._connector = connector
        self._tls = tls

    async def get(
        self, url: Url, headers: tuple[tuple[str, str], ...], max_body_bytes: int, trace: Trace
    ) -> tuple[Answer, Url]:
        """The answer at the end of the redirects, and where that was. Each hop's name is resolved, and refused, anew.

        `headers` are the caller's (see `appliance.policy.http_headers`) and go to the host asked first, not to others.
        Raises `StepFailed`; each hop is in `trace` also then.
        """
        first = url
        visited = {str(url)}
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._hop(url, headers if url.host == first.host else (), max_body_bytes, trace)
            if answer.status not in REDIRECTS:
                return answer, url
            url = _follow(url, answer, trace.hops[-1])
            if str(url) in visited:
                raise _refused(trace.hops[-1], "http.redirect.loop", f"{url} was visited before")
            visited.add(str(url))
        raise _refused(trace.hops[-1], "http.redirect.too-many", f"more than {MAX_REDIRECTS} redirects")

    async def _hop(self, url: Url, headers: tuple[tuple[str, str], ...], max_body_bytes: int, trace: Trace) -> Answer:
        hop = trace.hop(str(url))
        try:
            answer = await self._ask(url, headers, max_body_bytes, hop, trace)
            hop.status = answer.status
            hop.body = answer.body
            if answer.error is not None:
                raise answer.error
        except StepFailed as failed:
            hop.error = failed.error
            raise
        finally:
            hop.end()
        return answer

    async def _ask(
        self, url: Url, headers: tuple[tuple[str, str], ...], max_body_bytes: int, hop: HopTrace, trace: Trace
    ) -> Answer:
        request = request_bytes(url, self._user_agent, headers)
        hop.head = request.decode("ascii")
        target = await find_target(
            url.host,
            is_address=url.is_address,
            port=url.port,
            resolver=self._resolver,
            exceptions=self._exceptions,
            trace=trace,
        )
        trace.enter("connect")
        transport, exchange, connection = await connect(
            self._connector,
            lambda: Exchange(request, max_body_bytes, self._limits.response_s),
            target,
            self._limits.connect_s,
            hop.connection,
        )
        try:
            if url.scheme == "https":
                trace.enter("tls")
                transport, connection = await self._secure(url, transport, exchange, connection, hop)
            hop.connection(connection)
            trace.enter("http")
            exchange.send(transport)
            return await exchange.answer()
        finally:
            exchange.close()

    async def _secure(
        self, url: Url, transport: asyncio.Transport, exchange: Exchange, connection: Connection, hop: HopTrace
    ) -> tuple[asyncio.Transport, Connection]:
        name = None if url.is_address else url.host
        try:
            secured = await start_tls(transport, exchange, self._tls, name, self._limits.tls_s)
        except StepFailed as failed:
            hop.connection(msgspec.structs.replace(connection, error=failed.error))
            raise
        return secured, with_tls(connection, secured)


def request_bytes(url: Url, user_agent: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The request, whole. `headers` may replace User-Agent and Accept, and add others, but nothing that frames or routes."""
    for name, value in headers:
        problem = header_problem(name, value)
        if problem is not None:
            raise StepFailed("request.header", problem, "start", Fault.APPLIANCE)
    return request_head(url.target, url.authority, user_agent, headers).encode("ascii")


def _follow(url: Url, answer: Answer, hop: HopTrace) -> Url:
    if len(answer.locations) != 1:
        raise _refused(hop, "http.redirect.location", f"a redirect with {len(answer.locations)} Location fields")
    hop.location = answer.locations[0][:_LOCATION_CHARS_KEPT].decode("latin-1")
    try:
        return resolve(url, answer.locations[0])
    except RefusedUrl as error:
        raise _refused(hop, "http.redirect.refused", f"refused redirect: {error}") from error


def _refused(hop: HopTrace, code: str, message: str) -> StepFailed:
    """A refused redirect is a failure even if the body that came with it holds the token."""
    failed = StepFailed(code, message, STEP_REDIRECT)
    hop.error = failed.error
    return failed
