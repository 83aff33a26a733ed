"""Connections to pinned addresses: TCP; TLS that only records the certificate, for checks; TLS that verifies it, for proofs."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol, TypeVar

from appliance.model.observation import Connection
from appliance.net.http.overhead import MAX_HANDSHAKE_BYTES, Gauge, TlsUser
from appliance.net.targets import Target
from appliance.net.trace import StepFailed

_P = TypeVar("_P", bound=asyncio.BaseProtocol)
STEP_CONNECT = "connect"
STEP_TLS = "tls"


class Connector(Protocol):
    """How a TCP connection is made; tests map addresses and ports to servers of their own."""

    async def connect(self, factory: Callable[[], _P], address: str, port: int) -> tuple[asyncio.Transport, _P]:
        """Connect to exactly this address. Raises OSError."""
        ...


class TcpConnector:
    """The connector of a perspective: the event loop's own, with a numeric address, so that nothing is resolved."""

    async def connect(self, factory: Callable[[], _P], address: str, port: int) -> tuple[asyncio.Transport, _P]:
        """See `Connector.connect`."""
        return await asyncio.get_running_loop().create_connection(factory, address, port)


def client_context(alpn: str | None = None) -> ssl.SSLContext:
    """One per process and use; `alpn` is the protocol offered (RFC 7301).

    No verification: RFC 8555 section 8.3 leaves redirect targets unverified, and a check is what comes before a
    certificate. TLS 1.2 or newer; no renegotiation; no session is kept.
    """
    context = _hardened()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


def verifying_context(authorities: str | None) -> ssl.SSLContext:
    """Return a context that verifies the chain, the dates and the host name or IP address (RFC 9525).

    `authorities`: PEM certificates, the only ones that may vouch for the server. None: the system's roots. The server name
    must be given to `start_tls`, also if it is an address. Raises `ssl.SSLError` if `authorities` holds no certificate.
    """
    context = _hardened()
    context.hostname_checks_common_name = False
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=authorities)
    return context


def certificate_problem(error: BaseException) -> str | None:
    """Return why the server's certificate does not verify, if that is why `start_tls` failed with `error`."""
    cause = error.__cause__
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else None


def _hardened() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    # A hostile server chooses the group of a finite-field exchange, and with it how much CPU the handshake takes.
    context.set_ciphers("DEFAULT:!kDHE:!aNULL")
    return context


async def connect(
    connector: Connector,
    factory: Callable[[], _P],
    target: Target,
    timeout_s: float,
    record: Callable[[Connection], None],
) -> tuple[asyncio.Transport, _P, Connection]:
    """Connect to the first of the target's addresses that can be: IPv6, then IPv4, each within `timeout_s`.

    What was refused or failed is given to `record`; the one that succeeded is returned. Raises the last `StepFailed`
    (`connect.timeout`, `connect.failed`), or `address.refused` where nothing was left to try.
    """
    failed: StepFailed | None = None
    for refusal in target.refusals:
        record(refusal)
        failed = StepFailed.of(refusal.error, "address.refused", refusal.address, STEP_CONNECT)
    for address in target.addresses:
        began_ns = time.monotonic_ns()
        try:
            transport, protocol = await _connect(connector, factory, address, target.port, timeout_s)
        except StepFailed as error:
            record(Connection(address, target.port, False, elapsed_us=elapsed_us(began_ns), error=error.error))
            failed = error
        else:
            return transport, protocol, Connection(address, target.port, True, elapsed_us=elapsed_us(began_ns))
    raise failed or StepFailed("connect.failed", "no address", STEP_CONNECT)


async def _connect(
    connector: Connector, factory: Callable[[], _P], address: str, port: int, timeout_s: float
) -> tuple[asyncio.Transport, _P]:
    try:
        async with asyncio.timeout(timeout_s):
            return await connector.connect(factory, address, port)
    except TimeoutError:
        raise StepFailed("connect.timeout", f"{address}: no connection within {timeout_s:g} s", STEP_CONNECT) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StepFailed("connect.failed", f"{address}: {reason}", STEP_CONNECT) from error


async def start_tls(
    transport: asyncio.Transport,
    protocol: TlsUser,
    context: ssl.SSLContext,
    server_name: str | None,
    timeout_s: float,
) -> asyncio.Transport:
    """Speak TLS on a connection within `timeout_s`; SNI is `server_name`. What TLS itself may cost is bounded (`Gauge`).

    Raises `StepFailed` (`tls.timeout`, `tls.failed`, `tls.too-large`).
    """
    loop = asyncio.get_running_loop()
    gauge = Gauge(transport, protocol)
    try:
        async with asyncio.timeout(timeout_s):
            secured = await loop.start_tls(transport, protocol, context, server_hostname=server_name)
    except TimeoutError:
        transport.abort()
        raise StepFailed("tls.timeout", f"no TLS handshake within {timeout_s:g} s", STEP_TLS) from None
    except (ssl.SSLError, OSError) as error:
        transport.abort()
        if gauge.overran:
            raise StepFailed(
                "tls.too-large", f"more than {MAX_HANDSHAKE_BYTES} bytes of handshake", STEP_TLS
            ) from error
        raise StepFailed("tls.failed", f"TLS handshake: {_tls_reason(error)}", STEP_TLS) from error
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise StepFailed("tls.failed", "the connection ended during the TLS handshake", STEP_TLS)
    gauge.handshaken()
    return secured


def with_tls(connection: Connection, transport: asyncio.BaseTransport) -> Connection:
    """The connection with the protocol version and the fingerprint of the leaf certificate."""
    tls = transport.get_extra_info("ssl_object")
    leaf = tls.getpeercert(binary_form=True)
    return Connection(
        connection.address,
        connection.port,
        connected=True,
        elapsed_us=connection.elapsed_us,
        tls_version=tls.version(),
        certificate_sha256=sha256(leaf).hexdigest() if leaf else None,
        alpn=tls.selected_alpn_protocol(),
    )


def elapsed_us(began_ns: int) -> int:
    """Microseconds since `began_ns` of the monotonic clock."""
    return (time.monotonic_ns() - began_ns) // 1000


def _tls_reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
