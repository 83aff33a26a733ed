"""A perspective of somebody else's, asked over HTTPS with mutual authentication, and used like a worker of our own.

The other side is `appliance.api.perspective`, or whoever implements `packaging/docs/perspective-protocol.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import msgspec

from appliance.config import RemotePerspectiveConfig
from appliance.errors import UNDECODABLE, ChannelClosed, ConfigError
from appliance.evidence.record import utc_text
from appliance.ipc.channel import WrongReply, mismatch
from appliance.linux.journal import printable
from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.moment import moment_of
from appliance.model.observation import CheckError, Fault, Observation, Outcome
from appliance.model.rov import RoundRequest, RoundSeen
from appliance.policy.partners import parsed, wrong_report

# As on the Unix-socket channel: an observation with everything that it may hold.
_MAX_REPLY_BYTES = 1 << 20
_CONNECT_S = 3.0
# What the way there and back may take beyond the deadline that the other side keeps.
_TRANSIT_S = 0.3
_MOST_CONNECTIONS = 64
_LARGEST = 1 << 53
_MOST_TOLD = 16
_LONGEST_TOLD = 300
_log = logging.getLogger("mpicd.remote")

_observation: msgspec.json.Decoder[Observation] = msgspec.json.Decoder(Observation)
_status: msgspec.json.Decoder[WorkerStatus] = msgspec.json.Decoder(WorkerStatus)


class RemoteChannel:
    """Asks the perspective `configured`. `status` is what it last said of itself, None while it does not answer."""

    def __init__(self, configured: RemotePerspectiveConfig, poll_s: float) -> None:
        self._configured = configured
        self._their_code = configured.url.rstrip("/").rpartition("/")[2]
        self._egress_addresses = parsed(map(str, configured.egress_addresses))
        self._poll_s = poll_s
        self._context = _client_context(configured)
        self._client: httpx.AsyncClient | None = None
        self._poller: asyncio.Task[None] | None = None
        self._in_flight: set[asyncio.Task[Observation]] = set()
        self._status: WorkerStatus | None = None

    @property
    def status(self) -> WorkerStatus | None:
        """The last status, as a worker of our own would say it."""
        return self._status

    @property
    def connected(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._status is not None

    def start(self) -> None:
        """Asks for the status now and again, in the background of the running loop."""
        if self._poller is None:
            limits = httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS)
            self._client = httpx.AsyncClient(
                verify=self._context,
                limits=limits,
                trust_env=False,
                follow_redirects=False,
                timeout=_CONNECT_S,
                # A jar that takes nothing: what a partner sets would be kept, and searched for each request, for ever.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
            self._poller = asyncio.create_task(self._poll(), name=f"remote {self._configured.code}")

    async def close(self) -> None:
        """Ends what is under way; it fails with `ChannelClosed`."""
        if self._poller is None or self._client is None:
            return
        for task in (self._poller, *self._in_flight):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._poller
        await self._client.aclose()
        self._poller = self._client = self._status = None

    def ask(self, request: CheckRequest) -> asyncio.Future[Observation]:
        """The observation to come; fails with `ChannelClosed` or `WrongReply`. Raises `ChannelClosed` before `start`."""
        if self._client is None:
            raise ChannelClosed(f"{self._configured.code}: not started")
        task = asyncio.create_task(self._asked(self._client, request))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return task

    def ask_round(self, request: RoundRequest) -> asyncio.Future[RoundSeen]:
        """Raises `ChannelClosed`: the protocol has no probes of routes."""
        raise ChannelClosed(
            f"{self._configured.code}: rounds of probes are not asked of others' perspectives ({request.request_id})"
        )

    def cancel(self, request_id: str) -> None:
        """Nobody waits any more. It is heard all the same, up to its deadline: what it saw late is evidence."""

    async def _asked(self, client: httpx.AsyncClient, request: CheckRequest) -> Observation:
        theirs = msgspec.structs.replace(request, perspective=self._their_code)
        try:
            async with asyncio.timeout(request.deadline_ms / 1000 + _TRANSIT_S):
                body = await self._fetch(client, "POST", f"{self._url}/check", msgspec.json.encode(theirs))
            seen = _observation.decode(body)
            _fit_for_records(seen)
        except TimeoutError as error:
            raise ChannelClosed(f"{self._configured.code}: no answer within its deadline") from error
        except UNDECODABLE as error:
            raise WrongReply(f"{self._configured.code}: not an observation: {error}") from error
        began = moment_of(seen.started_at)
        if began is not None:
            seen = msgspec.structs.replace(seen, started_at=utc_text(began))
        wrong = mismatch(theirs, seen)
        if wrong is None and seen.request_id != request.request_id:
            wrong = f"a reply to request {seen.request_id}, not to {request.request_id}"
        if wrong is not None:
            raise WrongReply(f"{self._configured.code}: {wrong}")
        return self._from_its_address(msgspec.structs.replace(seen, perspective=self._configured.code))

    def _from_its_address(self, seen: Observation) -> Observation:
        """Return `seen`; no corroboration if it was not made from the configured addresses. What it saw is kept as evidence."""
        reason = wrong_report(seen.egress_addresses, self._egress_addresses)
        if reason is None:
            return seen
        message = f"outcome {seen.outcome} does not count: {reason}"
        error = CheckError("perspective.egress-address", message, "end", Fault.PERSPECTIVE)
        outcome = Outcome.ERROR if seen.corroborates else seen.outcome
        return msgspec.structs.replace(seen, outcome=outcome, corroborates=False, errors=(*seen.errors, error))

    async def _poll(self) -> None:
        while self._client is not None:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    status = _status.decode(await self._fetch(self._client, "GET", self._url, None))
                    _fit_for_records(status)
                self._status = _usable(status, self._configured.code)
            except (ChannelClosed, TimeoutError, *UNDECODABLE):
                self._status = None
            except Exception:  # whatever it said, it is asked again, and not ready until then
                self._status = None
                _log.exception("%s: its status could not be read", self._configured.code)
            await asyncio.sleep(self._poll_s)

    async def _fetch(self, client: httpx.AsyncClient, method: str, url: str, body: bytes | None) -> bytes:
        """The body of a 200. Raises `ChannelClosed`."""
        headers = {} if body is None else {"content-type": "application/json"}
        content = bytearray()
        try:
            async with client.stream(method, url, content=body, headers=headers) as response:
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > _MAX_REPLY_BYTES:
                        raise WrongReply(f"{self._configured.code}: a reply of more than {_MAX_REPLY_BYTES} bytes")
        except httpx.HTTPError as error:
            raise ChannelClosed(f"{self._configured.code}: {type(error).__name__}: {error}") from error
        if response.status_code != httpx.codes.OK:
            raise ChannelClosed(f"{self._configured.code}: HTTP {response.status_code}: {_error_of(bytes(content))}")
        return bytes(content)

    @property
    def _url(self) -> str:
        return self._configured.url.rstrip("/")


def _client_context(configured: RemotePerspectiveConfig) -> ssl.SSLContext:
    """TLS 1.3, our certificate, and no other authority than the pinned one. Raises `ConfigError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    where = f"remote_perspectives {configured.code}"
    try:
        context.load_verify_locations(configured.ca_file)
    except OSError as error:
        raise ConfigError([f"{where}.ca_file: {configured.ca_file}: {error}"]) from error
    try:
        context.load_cert_chain(configured.certificate_file, configured.private_key_file)
    except OSError as error:
        raise ConfigError([f"{where}.certificate_file: {configured.certificate_file}: {error}"]) from error
    return context


def _fit_for_records(told: msgspec.Struct) -> None:
    """Raises `msgspec.ValidationError` where it holds a number that canonical JSON cannot, 2**53 or more (RFC 8785, RFC 7493
    section 2.2): what is stored is read again by others."""
    left: list[object] = [msgspec.to_builtins(told)]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, int) and abs(value) >= _LARGEST:
            raise msgspec.ValidationError("a number of 2**53 or more")


def _usable(status: WorkerStatus, code: str) -> WorkerStatus:
    """Under the code that it has here, its reasons bounded. A time that is none is no time."""
    anchored = None if status.anchored_at is None else moment_of(status.anchored_at)
    return msgspec.structs.replace(
        status,
        perspective=code,
        reasons=tuple(printable(reason[:_LONGEST_TOLD]) for reason in status.reasons[:_MOST_TOLD]),
        anchored_at=None if anchored is None else utc_text(anchored),
    )


def _error_of(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"])[:300]
    except (*UNDECODABLE, KeyError, TypeError):
        return ""
