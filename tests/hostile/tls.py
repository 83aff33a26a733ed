"""What the hostile TLS servers do on port 443, one address each, and certificates of tls-alpn-01, right and wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance.table import HEX_DIGEST
from tests.hostile.addresses import TLS, ZONE
from tests.hostile.http import FOREVER_S
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
    writer.transport.abort()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    # A handshake record that announces 16 KiB, a byte a second.
    for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(1000):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


RAW: Final[dict[str, Serve]] = {"tls-stall": _stall, "tls-garbage": _garbage, "tls-reset": _reset, "tls-drip": _drip}
"""Those that never come to the end of a handshake."""


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
        "tls-many-names": challenge("tls-many-names", also=3000),
        "tls-then-stall": challenge("tls-then-stall"),
    }
    return {
        name: server_context(one, directory, alpn=None if name in ("alpn-none", "tls-then-stall") else _ALPN)
        for name, one in certificates.items()
    }


async def start(directory: Path) -> None:
    """Listen on port 443 of every address of `TLS`."""
    secured = contexts(directory)
    for name, address in TLS.items():
        serve = partial(RAW.get(name, _stall))
        for one in address:
            await asyncio.start_server(serve, str(one), 443, ssl=secured.get(name))
