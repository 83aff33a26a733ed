"""TLS of the API's TCP listeners: version 1.3 alone, and a record for every handshake that fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from cryptography import x509

from appliance.api.callers.gate import Gate, Peer
from appliance.api.callers.register import public_key_sha256
from appliance.api.protocol import BoundedProtocol
from appliance.config import TcpConfig
from appliance.errors import ConfigError

HANDSHAKE_S = 5.0


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


class TlsAccept(asyncio.Protocol):
    """A connection until its handshake is done; from then on it is `http`'s.

    Who shows no certificate, a wrong or an expired one, or one that is not registered any more, gets no HTTP answer.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        gate: Gate,
        http: Callable[[], BoundedProtocol],
        pending: set[asyncio.Task[None]],
        most_pending: int,
    ) -> None:
        self._context = context
        self._gate = gate
        self._http = http
        self._pending = pending
        self._most_pending = most_pending

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        plain = cast("asyncio.Transport", transport)
        if len(self._pending) >= self._most_pending:
            plain.abort()
            return
        task = asyncio.get_running_loop().create_task(self._shake_hands(plain))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _shake_hands(self, plain: asyncio.Transport) -> None:
        peer = tcp_peer(plain)
        early = _Early()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                plain, early, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except ssl.SSLError as error:
            self._gate.refusals["tls"] += 1
            self._gate.refused(peer, f"TLS: {error.reason}: {getattr(error, 'verify_message', '')}".rstrip(": "))
            plain.abort()
            return
        except OSError:
            # Gone, or too slow: a port scan is nothing to keep.
            plain.abort()
            return
        if secured is None or early.lost:
            plain.abort()
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
