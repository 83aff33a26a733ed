"""TLS to a target that proves itself by ALPN (RFC 7301), as RFC 8737 section 3 asks: one handshake, nothing after it."""

from __future__ import annotations

import ssl
from typing import Final

import msgspec

from appliance.net.dns.resolver import Asks
from appliance.net.http.client import HttpLimits
from appliance.net.http.connect import Connector, connect, start_tls, with_tls
from appliance.net.http.overhead import TlsUser
from appliance.net.special_purpose import IpNetwork
from appliance.net.targets import find_target
from appliance.net.trace import StepFailed, Trace

ACME_TLS_1: Final = "acme-tls/1"
PORT: Final = 443


class _Silent(TlsUser):
    """Reads nothing: what comes after the handshake counts for nothing."""


class AlpnClient:
    """One per process: shares the TLS context, which offers one protocol, and nothing else, between checks."""

    def __init__(
        self,
        resolver: Asks,
        limits: HttpLimits,
        *,
        exceptions: tuple[IpNetwork, ...],
        connector: Connector,
        tls: ssl.SSLContext,
    ) -> None:
        self._resolver = resolver
        self._limits = limits
        self._exceptions = exceptions
        self._connector = connector
        self._tls = tls

    async def certificate(
        self, host: str, *, is_address: bool, server_name: str, trace: Trace
    ) -> tuple[bytes | None, str | None]:
        """The leaf certificate (DER) that `host` presents on port 443 to that server name, and the protocol negotiated.

        The attempts are in `trace.connections`. Raises `StepFailed`.
        """
        target = await find_target(
            host,
            is_address=is_address,
            port=PORT,
            resolver=self._resolver,
            exceptions=self._exceptions,
            trace=trace,
        )
        trace.enter("connect")
        transport, protocol, connection = await connect(
            self._connector, _Silent, target, self._limits.connect_s, trace.connections.append
        )
        trace.enter("tls")
        try:
            secured = await start_tls(transport, protocol, self._tls, server_name, self._limits.tls_s)
        except StepFailed as failed:
            trace.connections.append(msgspec.structs.replace(connection, error=failed.error))
            raise
        try:
            trace.connections.append(with_tls(connection, secured))
            leaf: bytes | None = secured.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            secured.abort()
        return leaf, trace.connections[-1].alpn
