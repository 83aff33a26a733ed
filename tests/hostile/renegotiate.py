"""A server that asks for a new handshake once it has the request (TLS 1.2, RFC 5246 section 7.4.1.1), and then stalls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from cryptography import x509
from OpenSSL import SSL

from tests.hostile.http import FOREVER_S
from tests.unit.net.certificates import Certificate

_READ_BYTES: Final = 65536


def context(certificate: Certificate) -> SSL.Context:
    """Python's own `ssl` cannot ask for a handshake anew; pyOpenSSL can."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_max_proto_version(SSL.TLS1_2_VERSION)
    made.use_certificate(x509.load_der_x509_certificate(certificate.der))
    made.use_privatekey(certificate.key)
    return made


async def serve(context: SSL.Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: handshake, request, HelloRequest, then nothing for as long as the client waits."""
    connection = SSL.Connection(context)
    connection.set_accept_state()
    try:
        await _until_done(connection.do_handshake, connection, reader, writer)
        await _until_done(lambda: connection.recv(_READ_BYTES), connection, reader, writer)
        connection.renegotiate()
        connection.do_handshake()
        await _flush(connection, writer)
        await asyncio.sleep(FOREVER_S)
    except (OSError, EOFError, SSL.Error):
        pass
    finally:
        writer.close()


async def _until_done(
    step: Callable[[], object], connection: SSL.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        try:
            step()
        except SSL.WantReadError:
            await _flush(connection, writer)
            data = await reader.read(_READ_BYTES)
            if not data:
                raise EOFError from None
            connection.bio_write(data)
        else:
            await _flush(connection, writer)
            return


async def _flush(connection: SSL.Connection, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(connection.bio_read(_READ_BYTES))
    except SSL.WantReadError:
        await writer.drain()
