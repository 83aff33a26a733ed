"""TLS of the API's TCP listeners: version 1.3 alone, and a record for every handshake that fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import cast

from appliance.api.callers.gate import Gate, Peer
from appliance.api.callers.register import UnusableCertificate, der_public_key_sha256
from appliance.api.protocol import BoundedProtocol
from appliance.config import TcpConfig
from appliance.errors import ConfigError

HANDSHAKE_S = 5.0
# From the accepted connection to HTTP: the handshake, and what the loop needs around it.
_HAND_OVER_S = HANDSHAKE_S + 1.0
_SHUTDOWN_S = 5.0
_MAX_EARLY_BYTES = 64 * 1024
# Handshakes of one source at a time: an honest one lasts milliseconds.
MOST_OF_ONE_SOURCE = 16
_ACCEPT_AGAIN_S = 0.1
_log = logging.getLogger("mpicd.tls")


def server_context(listener: TcpConfig, key: str) -> ssl.SSLContext | None:
    """What `listener` speaks, None for plain HTTP on loopback. `key` names it in errors. Raises `ConfigError`."""
    if listener.certificate_file is None or listener.private_key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # each connection shows its certificate anew
    try:
        context.load_cert_chain(listener.certificate_file, listener.private_key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError([f"{key}.certificate_file: {listener.certificate_file}: {error}"]) from error
    if listener.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(listener.client_ca_file)
        except OSError as error:
            raise ConfigError([f"{key}.client_ca_file: {listener.client_ca_file}: {error}"]) from error
    return context


def tcp_peer(transport: asyncio.BaseTransport) -> Peer:
    """The other end of a TCP connection, with its certificate's public key where it showed one.

    Raises `UnusableCertificate`.
    """
    name = transport.get_extra_info("peername")
    tls = transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    digest = None if not der else der_public_key_sha256(der)
    return Peer(address=str(name[0]) if name else "", public_key_sha256=digest)


class _Early(asyncio.Protocol):
    """Keeps what comes with the last bytes of the handshake, before the connection is `http`'s: at most what one read gives
    beyond `_MAX_EARLY_BYTES`."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False
        self.paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= _MAX_EARLY_BYTES and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self.lost = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


class TlsListener:
    """Accepts connections at `sock`; from the end of its handshake on each is `http`'s.

    Who shows no certificate, a wrong or an expired one, one that cannot be read, or one that is not registered any more, gets
    no HTTP answer. At most `most_pending` handshakes are under way, and `MOST_OF_ONE_SOURCE` of one source (an IPv4 address, an
    IPv6 /64). Whoever comes then takes the place of the oldest one: of its own source, or of the source that has most.
    An honest handshake lasts milliseconds and is seldom the oldest.

    The event loop is given the accepted socket and TLS in one call: a server that begins to read before it asks for TLS, as
    `start_tls` after an accepted connection does, loses a ClientHello that is there already.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        gate: Gate,
        http: Callable[[], BoundedProtocol],
        most_pending: int,
    ) -> None:
        self._socket = sock
        self._context = context
        self._gate = gate
        self._http = http
        self._most_pending = most_pending
        # In order of arrival.
        self._pending: dict[str, dict[asyncio.Task[None], None]] = {}
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accepts nobody more; handshakes under way go on."""
        self._accepting.cancel()
        self._socket.close()

    def drop_handshakes(self) -> None:
        """Ends those under way."""
        for task in [task for tasks in self._pending.values() for task in tasks]:
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._socket)
            except OSError as error:  # gone before it was accepted, or no descriptor left
                _log.warning("a TCP connection could not be accepted: %s", error)
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            try:
                self._begin(accepted)
            except Exception:  # one connection must not end the listener
                _log.exception("a TCP connection could not be taken up")
                accepted.close()

    def _begin(self, accepted: socket.socket) -> None:
        peer = _peer_of(accepted)
        source = _source_of(peer)
        self._make_room(source)
        task = asyncio.get_running_loop().create_task(self._admit(accepted, peer))
        self._pending.setdefault(source, {})[task] = None
        task.add_done_callback(lambda done: self._ended(done, source, peer, accepted))

    def _ended(self, task: asyncio.Task[None], source: str, peer: Peer, accepted: socket.socket) -> None:
        self._forget(source, task)
        if task.cancelled():
            accepted.close()  # it may not even have begun
        elif (error := task.exception()) is not None:
            _log.error("%s: a connection failed before its request", peer.address, exc_info=error)
            self._refuse("internal", peer, "an internal error before the request; see the journal")

    def _make_room(self, source: str) -> None:
        """Ends the oldest handshake of `source`, or of the one that has most, where there would be one too many."""
        if len(self._pending.get(source, ())) >= MOST_OF_ONE_SOURCE:
            crowded = source
        elif sum(map(len, self._pending.values())) >= self._most_pending:
            crowded = max(self._pending, key=lambda one: len(self._pending[one]))
        else:
            return
        oldest = next(iter(self._pending[crowded]))
        self._forget(crowded, oldest)
        oldest.cancel()
        self._refuse(
            "handshakes", Peer(address=crowded), "more unfinished handshakes than one source may have under way"
        )

    def _forget(self, source: str, task: asyncio.Task[None]) -> None:
        tasks = self._pending.get(source)
        if tasks is not None:
            tasks.pop(task, None)
            if not tasks:
                del self._pending[source]

    def _refuse(self, counter: str, peer: Peer, reason: str) -> None:
        self._gate.refusals[counter] += 1
        self._gate.refused(peer, reason)

    async def _admit(self, accepted: socket.socket, peer: Peer) -> None:
        """Owns the connection until it is `http`'s: whatever happens before, it ends."""
        early = _Early()
        secured: asyncio.Transport | None = None
        handed_over = False
        try:
            async with asyncio.timeout(_HAND_OVER_S):
                secured = await self._shake_hands(accepted, early)
            handed_over = self._hand_over(secured, early)
        except ssl.SSLError as error:
            self._refuse("tls", peer, f"TLS: {error.reason}: {getattr(error, 'verify_message', '')}".rstrip(": "))
        except UnusableCertificate as error:
            self._refuse("certificate", peer, str(error))
        except OSError:
            pass  # Gone, or too slow: a port scan is nothing to keep.
        finally:
            if secured is None:
                accepted.close()
            elif not handed_over:
                secured.abort()

    async def _shake_hands(self, accepted: socket.socket, early: _Early) -> asyncio.Transport:
        secured, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: early,
            accepted,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
        return secured

    def _hand_over(self, secured: asyncio.Transport, early: _Early) -> bool:
        """Makes the connection `http`'s, or says that it must end. Raises `UnusableCertificate`."""
        if early.lost:
            return False
        peer = tcp_peer(secured)
        if peer.public_key_sha256 is not None and not self._gate.known(peer.public_key_sha256):
            self._refuse("certificate", peer, "a client certificate that is not registered, or revoked")
            return False
        protocol = self._http()
        secured.set_protocol(protocol)
        if early.paused:
            # Takes effect in the next turn of the loop, after what came early.
            secured.resume_reading()
        protocol.connection_made(secured)
        if early.data:
            protocol.data_received(bytes(early.data))
        return True


def _peer_of(accepted: socket.socket) -> Peer:
    try:
        return Peer(address=str(accepted.getpeername()[0]))
    except OSError:
        return Peer(address="")


def _source_of(peer: Peer) -> str:
    """What one client has without effort: an IPv4 address, an IPv6 /64."""
    try:
        found = ip_address((peer.address or "").partition("%")[0])
    except ValueError:
        return ""
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))
