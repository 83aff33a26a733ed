"""TLS of the API's TCP listeners: version 1.3 alone, and a record for every handshake that fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from cryptography import x509

from appliance.api.callers.gate import Gate, Peer
from appliance.api.callers.register import public_key_sha256
from appliance.api.protocol import BoundedProtocol
from appliance.config import TcpConfig
from appliance.errors import ConfigError

HANDSHAKE_S = 5.0
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
    """The other end of a TCP connection, with its certificate's public key where it showed one."""
    name = transport.get_extra_info("peername")
    tls = transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    digest = None if not der else public_key_sha256(x509.load_der_x509_certificate(der))
    return Peer(address=str(name[0]) if name else "", public_key_sha256=digest)


class _Early(asyncio.Protocol):
    """Keeps what comes with the last bytes of the handshake, before the connection is `http`'s."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.lost = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


class TlsListener:
    """Accepts connections at `sock`; from the end of its handshake on each is `http`'s.

    Who shows no certificate, a wrong or an expired one, or one that is not registered any more, gets no HTTP answer. At most
    `most_pending` handshakes are under way.

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
        self._pending: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accepts nobody more; handshakes under way go on."""
        self._accepting.cancel()
        self._socket.close()

    def drop_handshakes(self) -> None:
        """Ends those under way."""
        for task in self._pending:
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
            if len(self._pending) >= self._most_pending:
                accepted.close()
                continue
            task = loop.create_task(self._shake_hands(accepted))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        peer = _peer_of(accepted)
        early = _Early()
        try:
            secured, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: early, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except ssl.SSLError as error:
            self._gate.refusals["tls"] += 1
            self._gate.refused(peer, f"TLS: {error.reason}: {getattr(error, 'verify_message', '')}".rstrip(": "))
            accepted.close()
            return
        except OSError:
            # Gone, or too slow: a port scan is nothing to keep.
            accepted.close()
            return
        except BaseException:
            accepted.close()
            raise
        if early.lost:
            secured.abort()
            return
        peer = tcp_peer(secured)
        if peer.public_key_sha256 is not None and not self._gate.known(peer.public_key_sha256):
            self._gate.refusals["certificate"] += 1
            self._gate.refused(peer, "a client certificate that is not registered, or revoked")
            secured.abort()
            return
        protocol = self._http()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if early.data:
            protocol.data_received(early.data)


def _peer_of(accepted: socket.socket) -> Peer:
    try:
        return Peer(address=str(accepted.getpeername()[0]))
    except OSError:
        return Peer(address="")
