"""uvicorn's HTTP/1.1 protocol with the bounds that it lacks: size and time of a request's head, connections, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from appliance.api.callers.gate import Peer
from appliance.api.http import Application

MAX_HEAD_BYTES = 16 * 1024
# Of one request on the wire: a body in chunks of one octet takes six times its size (RFC 9112 section 7.1), and an honest
# client sends no trailers. What one read brought of the requests before it counts, too.
_MAX_MESSAGE_BYTES = 1024 * 1024
_MOST_PIPELINED = 100
# From the first byte that we wait for to the last byte of the request.
REQUEST_S = 10.0
IDLE_S = 30.0


PeerOf = Callable[[asyncio.BaseTransport], Peer]


class _HeadTooLarge(Exception):
    """Ends the parsing of a request that is refused already."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What `peer_of` knows of the other end is in the ASGI scope's `state`, as `peer`.

    `count` is told of each request that is refused here already."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        max_connections: int,
        peer_of: PeerOf,
        count: Callable[[str], None],
    ) -> None:
        super().__init__(config, server_state, {})
        self._count = count
        self._peer_of = peer_of
        self._max_connections = max_connections
        self._head_bytes = self._field_bytes = self._message_bytes = 0
        self._begun = False
        self._in_head = False
        self._pieces: list[bytes] = []
        self._request_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        super().connection_made(cast("asyncio.Transport", transport))  # uvloop's does not inherit from asyncio's
        if len(self.connections) > self._max_connections:
            self._refuse(b"503 Service Unavailable", b"Too many connections.", b"retry-after: 1\r\n")
            return
        try:
            self.app_state = {"peer": self._peer_of(transport)}
        except Exception:
            self._count("internal")
            self.transport.abort()
            raise
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._stop_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self.transport.is_closing():
            return
        if self._request_timer is None:
            self._start_timer()
        super().data_received(data)
        self._hand_over_body()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        elif self._begun:
            self._message_bytes += len(data)
            if self._message_bytes > _MAX_MESSAGE_BYTES:
                self._refuse(b"413 Content Too Large", b"The request is too large.")

    def on_message_begin(self) -> None:  # noqa: D102
        self._begun = self._in_head = True
        self._head_bytes = self._field_bytes = self._message_bytes = 0
        if self._request_timer is None:
            # It began behind another one, in the same read.
            self._start_timer()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > MAX_HEAD_BYTES:  # trailers come here as well
            self._refuse_head()
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:  # noqa: D102
        self._in_head = False
        # A head that came in one piece was whole before its bytes were counted.
        if self._field_bytes + len(self.url) > MAX_HEAD_BYTES:
            self._refuse_head()
            raise _HeadTooLarge
        if len(self.pipeline) >= _MOST_PIPELINED:
            # An answer now would be taken for that of an earlier request.
            self._count("pipelined")
            self.transport.abort()
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:  # noqa: D102
        # One read may hold ten thousand chunks of one byte, and uvicorn would copy all that came before for each of them.
        self._pieces.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        self._hand_over_body()
        self._begun = False
        self._stop_timer()
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:  # noqa: D102
        # A peer that never reads its answer would hold the transport open for as long as it likes.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:  # noqa: D102
        self._write_timer = self.loop.call_later(IDLE_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:  # noqa: D102
        self._stop_write_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: D102
        self._refuse(b"400 Bad Request", msg.encode("ascii", "replace"))

    def _hand_over_body(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self.transport.is_closing():
            super().on_body(b"".join(pieces))

    def _start_timer(self) -> None:
        self._request_timer = self.loop.call_later(REQUEST_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _too_slow(self) -> None:
        self._request_timer = None
        if self.flow.read_paused:
            # We do not read: the time is ours, and what we do meanwhile has limits of its own.
            self._start_timer()
        elif self._begun:
            self._refuse(b"408 Request Timeout", b"The request did not arrive in time.")
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(b"431 Request Header Fields Too Large", b"The request's head is too large.")

    def _refuse(self, status: bytes, error: bytes, header: bytes = b"") -> None:
        if self.transport.is_closing():
            return
        self._count(f"http-{status[:3].decode()}")
        if self._begun and not self._in_head and self.cycle is not None and self.cycle.response_started:
            self.transport.close()  # it has its answer already
            return
        body = b'{"error":"%s"}' % error.replace(b'"', b"'")
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (status, len(body), header, body)
        )
        self.transport.close()


def protocol_factory(
    app: Application, state: ServerState, max_connections: int, peer_of: PeerOf
) -> Callable[[], BoundedProtocol]:
    """Makes the protocol of each connection to `app`, an ASGI application."""
    config = Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(IDLE_S),
    )
    config.load()
    return lambda: BoundedProtocol(config, state, max_connections, peer_of, app.count)
