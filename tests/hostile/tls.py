"""What the hostile TLS servers do on port 443, one address each, and certificates of tls-alpn-01, right and wrong."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance.table import HEX_DIGEST
from tests.hostile import renegotiate
from tests.hostile.addresses import TLS, ZONE
from tests.hostile.http import BEHAVIOURS, FOREVER_S, abort
from tests.unit.net.certificates import Certificate, acme_identifier, certificate, server_context

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_Key = ec.EllipticCurvePrivateKey
_ALPN: Final = ["acme-tls/1"]
_RIGHT: Final = b"\x04\x20" + bytes.fromhex(HEX_DIGEST)


async def _stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(FOREVER_S)


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    abort(writer)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    # A handshake record that announces 16 KiB, a byte a second.
    for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(1000):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def _endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await BEHAVIOURS["endless-head"](writer)


RAW: Final[dict[str, Serve]] = {"tls-stall": _stall, "tls-garbage": _garbage, "tls-reset": _reset, "tls-drip": _drip}
"""Those that never come to the end of a handshake."""
SECURED: Final[dict[str, Serve]] = {"tls-endless-head": _endless_head}
"""What is done behind a handshake, where it is not just silence."""


def contexts(directory: Path) -> dict[str, ssl.SSLContext]:
    """The servers that do, each with its certificate."""

    def challenge(
        name: str,
        value: bytes = _RIGHT,
        *,
        also: int = 0,
        critical: bool = True,
        signed_by: ec.EllipticCurvePrivateKey | None = None,
    ) -> Certificate:
        names: list[x509.GeneralName] = [x509.DNSName(f"{name}.{ZONE}")]
        if name == "alpn-address":
            names = [x509.IPAddress(ip_address(str(TLS[name].v4)))]
        names += [x509.DNSName(f"n{number}.{ZONE}") for number in range(also)]
        return certificate(names, (acme_identifier(value), critical), signed_by=signed_by)

    certificates = {
        "alpn": challenge("alpn"),
        "alpn-digest": challenge("alpn-digest", b"\x04\x20" + bytes(32)),
        "alpn-names": challenge("alpn-names", also=1),
        "alpn-lax": challenge("alpn-lax", critical=False),
        "alpn-address": challenge("alpn-address"),
        "alpn-issued": challenge("alpn-issued", signed_by=ec.generate_private_key(ec.SECP256R1())),
        "alpn-none": challenge("alpn-none"),
        # What OpenSSL takes for a certificate at most is 100 KiB: one on either side of it.
        "tls-many-names": challenge("tls-many-names", also=2500),
        "tls-endless-names": challenge("tls-endless-names", also=10_000),
    }
    plain = ("tls-then-stall", "tls-endless-head", "tls-tickets")
    certificates |= {name: challenge(name) for name in plain}
    made = {
        name: server_context(one, directory, alpn=None if name in ("alpn-none", *plain) else _ALPN)
        for name, one in certificates.items()
    }
    # Some 100 kB of them, as soon as the handshake is over (RFC 8446 section 4.6.1).
    made["tls-tickets"].num_tickets = 400
    return made


async def start(directory: Path) -> None:
    """Listen on port 443 of every address of `TLS`."""
    secured = contexts(directory)
    renegotiating = partial(renegotiate.serve, renegotiate.context(certificate([x509.DNSName(ZONE)])))
    serving: dict[str, Serve] = {**RAW, **SECURED, "tls-renegotiate": renegotiating}
    for name, address in TLS.items():
        serve = partial(serving.get(name, _stall))
        for one in address:
            await asyncio.start_server(serve, str(one), 443, ssl=secured.get(name))
