"""One request and its response on one connection, as an asyncio protocol.

The grammar is llhttp's (httptools) with no leniency set: obsolete folding, bare LF, a signed or doubled Content-Length,
or one beside Transfer-Encoding all fail. h11 is as strict, but takes ten times the CPU. Nothing is ever decompressed.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import httptools
import msgspec

from appliance.net.http.overhead import TlsUser
from appliance.net.trace import StepFailed

MAX_HEAD_BYTES: Final = 16 * 1024
# The most that framing may cost: a chunk of one byte takes six.
_RAW_BYTES_PER_BODY_BYTE: Final = 8
_VERSIONS: Final = frozenset({"1.0", "1.1"})
STEP_HEAD: Final = "http.head"
STEP_BODY: Final = "http.body"


class Answer(msgspec.Struct, frozen=True):
    """A response. `locations`: every Location field line. `body_cut`: there was more than the cap. `error`: what broke
    the response off after its head; the body is then what came before."""

    status: int
    locations: tuple[bytes, ...]
    body: bytes
    body_cut: bool
    error: StepFailed | None = None


class Exchange(TlsUser):
    """Sends `request` when told to, reads one response of at most 16 KiB of head and `max_body_bytes` of body, closes."""

    def __init__(self, request: bytes, max_body_bytes: int, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._max_body_bytes = max_body_bytes
        self._timeout_s = timeout_s
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._failure: StepFailed | None = None
        self._status = 0
        self._head_bytes = 0
        self._raw_body_bytes = 0
        self._in_body = False
        self._length_known = False
        self._locations: list[bytes] = []
        self._body = bytearray()
        self._body_cut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; with TLS the request goes only after the handshake."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, transport: asyncio.WriteTransport) -> None:
        """Send the request; the time limit of the response runs from now."""
        self._transport = transport
        self._timer = self._loop.call_later(self._timeout_s, self._expire)
        if not self._ended.done():
            transport.write(self._request)

    async def answer(self) -> Answer:
        """Wait for the response. Raises `StepFailed` where there is no whole head; closes the connection in every case."""
        try:
            await self._ended
        finally:
            self.close()
        if self._failure is not None and not self._in_body:
            raise self._failure
        return Answer(self._status, tuple(self._locations), bytes(self._body), self._body_cut, self._failure)

    def close(self) -> None:
        """Drop the connection and the timer; safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    @property
    def step(self) -> str:
        """What is waited for."""
        return STEP_BODY if self._in_body else STEP_HEAD

    def data_received(self, data: bytes) -> None:
        """Feed the parser no more than the bounds leave."""
        self.heard_bytes += len(data)
        if self._ended.done():
            return
        if self._timer is None:
            self._fail("http.malformed", "the target spoke before it was asked")
            return
        try:
            if not self._in_body:
                data = self._feed_head(data)
            if data and not self._ended.done():
                self._feed_body(data)
        except httptools.HttpParserUpgrade:
            self._fail("http.malformed", "the target switched protocols")
        except httptools.HttpParserError as error:
            self._fail("http.malformed", f"malformed response: {error}")

    def flooded(self) -> None:
        """Far more TLS than response."""
        self._fail("tls.flood", "far more bytes of TLS than of the response")

    def eof_received(self) -> None:
        """The target has said all; see `connection_lost`."""
        self._finish_at_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Without a length the end of the connection is the end of the body (RFC 9112 section 6.3); else it is too early."""
        if exc is None:
            self._finish_at_eof()
        else:
            self._fail("http.reset", f"the connection broke: {exc}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line of the head, or of the trailers, which count for nothing."""
        if self._in_body or self._ended.done():
            return
        lowered = name.lower()
        if lowered == b"location":
            self._locations.append(value)
        elif lowered == b"content-length":
            self._length_known = True
        elif lowered == b"transfer-encoding":
            self._length_known = True
            if value.strip().lower() != b"chunked":
                self._fail("http.malformed", "a transfer coding other than chunked")

    def on_headers_complete(self) -> None:
        """The head is whole; an interim response (1xx) is passed over, and so is a second response in the same octets."""
        if self._ended.done():
            return
        if self._parser.get_http_version() not in _VERSIONS:
            self._fail("http.malformed", "neither HTTP/1.0 nor HTTP/1.1")
            return
        self._status = self._parser.get_status_code()
        if self._status >= 200:
            self._in_body = True
        else:
            self._locations.clear()
            self._length_known = False

    def on_body(self, data: bytes) -> None:
        """A piece of the body, kept up to the cap."""
        if self._ended.done():
            return
        room = self._max_body_bytes - len(self._body)
        self._body += data[:room]
        if len(data) > room:
            self._body_cut = True
            self._end()

    def on_message_complete(self) -> None:
        """The response is whole, unless it was an interim one."""
        if self._in_body:
            self._end()

    def _feed_head(self, data: bytes) -> bytes:
        """Feed what the head may still take; returns what comes after that."""
        room = MAX_HEAD_BYTES - self._head_bytes
        piece = data[:room]
        self._head_bytes += len(piece)
        self._parser.feed_data(piece)
        if not self._in_body and self._head_bytes >= MAX_HEAD_BYTES:
            self._fail("http.head.too-large", f"more than {MAX_HEAD_BYTES} bytes of head")
        return data[room:]

    def _feed_body(self, data: bytes) -> None:
        self._raw_body_bytes += len(data)
        self._parser.feed_data(data)
        if self._raw_body_bytes > MAX_HEAD_BYTES + _RAW_BYTES_PER_BODY_BYTE * self._max_body_bytes:
            self._fail("http.body.too-large", "far more bytes of framing than of body")

    def _finish_at_eof(self) -> None:
        if self._in_body and not self._length_known:
            self._end()
        else:
            self._fail("http.truncated", "the connection ended before the response did")

    def _expire(self) -> None:
        what = "body" if self._in_body else "head"
        self._fail(f"http.{what}.timeout", f"no whole {what} within {self._timeout_s:g} s")

    def _fail(self, code: str, message: str) -> None:
        if not self._ended.done():
            self._failure = StepFailed(code, message, self.step)
            self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
