"""What TLS may cost in octets: a server may not keep it busy with records that hold nothing for us.

A record of a few octets that changes keys or brings a ticket (RFC 8446 section 4.6) costs both sides the same CPU as a large one,
and no library limits how many there are.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

MAX_HANDSHAKE_BYTES: Final = 256 * 1024
"""OpenSSL itself takes at most 100 KiB of certificates."""
MAX_SPARE_BYTES: Final = 32 * 1024
"""After the handshake, beyond what reached the protocol and a quarter of that: a record of full size that is not whole yet."""


class TlsUser(asyncio.Protocol):
    """A protocol that TLS may be spoken under. `heard_bytes`: octets that reached it."""

    heard_bytes: int = 0

    def flooded(self) -> None:
        """There was far more of TLS than of what it carries; the connection ends."""


class Bounded(asyncio.BufferedProtocol):
    """Counts the octets that a transport hands to `tls`, the event loop's own protocol, and aborts it beyond the bounds."""

    def __init__(self, tls: asyncio.BufferedProtocol, transport: asyncio.Transport, user: TlsUser) -> None:
        self._tls = tls
        self._transport = transport
        self._user = user
        self._octets = 0
        self._handshake_octets: int | None = None
        self.overran = False

    def handshaken(self) -> None:
        """The handshake is over."""
        self._handshake_octets = self._octets

    @property
    def _most(self) -> int:
        if self._handshake_octets is None:
            return MAX_HANDSHAKE_BYTES
        heard = self._user.heard_bytes
        return self._handshake_octets + MAX_SPARE_BYTES + heard + heard // 4

    def get_buffer(self, sizehint: int) -> Any:
        """See `asyncio.BufferedProtocol`, here and below."""
        return self._tls.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102
        self._octets += nbytes
        self._tls.buffer_updated(nbytes)
        if self._octets > self._most and not self.overran:
            self.overran = True
            self._user.flooded()
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._tls.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._tls.connection_lost(exc)

    def eof_received(self) -> bool | None:  # noqa: D102
        return self._tls.eof_received()

    def pause_writing(self) -> None:  # noqa: D102
        self._tls.pause_writing()

    def resume_writing(self) -> None:  # noqa: D102
        self._tls.resume_writing()


class Gauge:
    """Puts a `Bounded` between `transport` and TLS as soon as the event loop has put TLS there."""

    def __init__(self, transport: asyncio.Transport, user: TlsUser) -> None:
        self._transport = transport
        self._user = user
        self._bounded: Bounded | None = None
        # `start_tls` sets its protocol before it first waits, and lets it read by a call that it queues after this one.
        asyncio.get_running_loop().call_soon(self._step_in)

    @property
    def overran(self) -> bool:
        """Whether the bounds were exceeded."""
        return self._bounded is not None and self._bounded.overran

    def handshaken(self) -> None:
        """The handshake is over."""
        if self._bounded is not None:
            self._bounded.handshaken()
        else:
            self._transport.abort()

    def _step_in(self) -> None:
        tls = self._transport.get_protocol()
        if tls is not self._user and not self._transport.is_closing():
            self._bounded = Bounded(cast("asyncio.BufferedProtocol", tls), self._transport, self._user)
            self._transport.set_protocol(self._bounded)
