"""An ASGI application from a table of routes: bounded bodies, JSON errors, and no work for what is refused."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.api.callers.gate import Caller, Gate
from appliance.api.errors import HttpError
from appliance.config import CallerLimits
from appliance.errors import EvidenceUnavailable

MAX_BODY_BYTES = 64 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

_log = logging.getLogger("mpicd")
_encoder = msgspec.json.Encoder()
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_RETRY = ((b"retry-after", b"1"),)
_ANYBODY = Caller("", CallerLimits())


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body whole, and who asks. `query`: what stands behind the "?", as it came."""

    body: bytes
    caller: Caller
    query: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response, whole."""

    status: int
    body: bytes
    headers: Headers = (_JSON,)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
Routes = Mapping[str, Mapping[str, Handler]]


def json_response(value: object, status: int = 200) -> HttpResponse:
    """`value` (msgspec types and plain JSON values) as a response."""
    return HttpResponse(status, _encoder.encode(value))


def error_response(error: HttpError) -> HttpResponse:
    """The error form."""
    return HttpResponse(error.status, _encoder.encode(error.body), (_JSON, *error.headers))


class Application:
    """ASGI 3. `routes`: path to method to handler. A handler gives a response or raises `HttpError`.

    `gate` knows the callers; only the paths in `open_paths` are answered to anybody.
    """

    def __init__(self, routes: Routes, gate: Gate, open_paths: frozenset[str] = frozenset()) -> None:
        self._routes = routes
        self._gate = gate
        self._open_paths = open_paths

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            response = await self._answer(scope, receive)
        except _Gone:
            return
        except HttpError as error:
            response = self._refusal(error)
        except EvidenceUnavailable as error:
            _log.error("no answer without evidence: %s", error)
            rule = "The decision could not be recorded, so there is none."
            response = self._refusal(HttpError(503, rule, headers=_RETRY, reason="evidence"))
        except Exception:
            _log.exception("unexpected error")
            response = self._refusal(HttpError(500, "Internal error; see the journal."))
        await _send(send, response, last=response.status == 413)

    def count(self, reason: str) -> None:
        """Counts a request that was refused before it was one of this application's."""
        self._gate.refusals[reason] += 1

    def _refusal(self, error: HttpError) -> HttpResponse:
        self.count(error.reason)
        return error_response(error)

    async def _answer(self, scope: Message, receive: Receive) -> HttpResponse:
        if scope["path"] in self._open_paths:
            return await self._handler(scope)(HttpRequest(b"", _ANYBODY))
        # Before anything else: a stranger learns nothing, not even which paths there are.
        caller = self._gate.identify(scope["state"]["peer"], dict(scope["headers"]))
        self._gate.check_path(caller, scope["path"])
        with self._gate.admit(caller):
            handler = self._handler(scope)
            return await handler(HttpRequest(await _body(scope, receive), caller, scope["query_string"]))

    def _handler(self, scope: Message) -> Handler:
        methods = self._routes.get(scope["path"])
        if methods is None:
            raise HttpError(404, "There is nothing at this path.")
        handler = methods.get(scope["method"])
        if handler is None:
            allowed = ", ".join(methods)
            raise HttpError(
                405, f"Method not allowed; this path has {allowed}.", headers=((b"allow", allowed.encode()),)
            )
        return handler


class _Gone(Exception):
    """The client went away before its request was whole."""


async def _body(scope: Message, receive: Receive) -> bytes:
    """The whole body. Refused before a byte of it is read, where its length is stated and too large."""
    if scope["method"] in {"GET", "HEAD"}:
        return b""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 15 or int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()  # grows in place: a body may come in 65,536 pieces
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body.extend(message.get("body", b""))
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    if body:
        _check_content_type(headers.get(b"content-type"))
    return bytes(body)


def _check_content_type(value: bytes | None) -> None:
    if value is not None and value.split(b";")[0].strip().lower() != b"application/json":
        raise HttpError(415, "The body must be application/json.")


def _too_large() -> HttpError:
    return HttpError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")


async def _send(send: Send, response: HttpResponse, *, last: bool) -> None:
    headers = [*response.headers, (b"content-length", str(len(response.body)).encode())]
    if last:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
