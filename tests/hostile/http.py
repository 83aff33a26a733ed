"""What the hostile web servers do, by the kind of the name in the request's Host (`addresses.kind_of`)."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from tests.e2e.asking import KEY_AUTHORIZATION
from tests.hostile.addresses import ZONE, kind_of

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]

FOREVER_S: Final = 3600.0
_PATH: Final = "/.well-known/acme-challenge/x"
LOCATIONS: Final = {
    "to-dotted": "http://127.0.0.1/",
    "to-decimal": "http://2130706433/",
    "to-hex": "http://0x7f000001/",
    "to-octal": "http://0177.0.0.1/",
    "to-short": "http://127.1/",
    "to-mapped": "http://[::ffff:127.0.0.1]/",
    "to-nat64": "http://[64:ff9b::7f00:1]/",
    "to-6to4": "http://[2002:7f00:1::1]/",
    "to-loopback6": "http://[::1]/",
    "to-zone-id": "http://[fe80::1%25lo]/",
    "to-user": "http://localhost@127.0.0.1/",
    "to-localhost": "http://localhost/",
    "to-name": f"http://s-loopback.{ZONE}/",
    "to-alias": f"http://alias.{ZONE}/",
    "to-metadata": "https://169.254.169.254/latest/meta-data/",
    "to-port": f"http://good.{ZONE}:8080/",
    "to-scheme": "gopher://good/",
}
"""Redirects that must not be followed, by the kind of Host."""


async def drip(writer: asyncio.StreamWriter) -> None:
    """One byte a second."""
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def stall(writer: asyncio.StreamWriter, first: bytes = b"") -> None:
    """Say `first`, then nothing for as long as the client waits."""
    writer.write(first)
    await writer.drain()
    await asyncio.sleep(FOREVER_S)


async def endless(writer: asyncio.StreamWriter, first: bytes, again: bytes) -> None:
    """Say `first`, then `again` for as long as the client listens."""
    writer.write(first)
    while not writer.is_closing():
        writer.write(again)
        await writer.drain()
        await asyncio.sleep(0)  # `drain` lets nobody else run where there is room, as over a lost TLS connection


async def say(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Say this and close."""
    writer.write(text)
    await writer.drain()


async def redirect(writer: asyncio.StreamWriter, location: str) -> None:
    """To `location`, with the token in the body."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\ntoken"
    await say(writer, head.encode("latin-1"))


def abort(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST, whatever was read of it."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset(writer: asyncio.StreamWriter) -> None:
    """RST in the middle of the head."""
    writer.write(b"HTTP/1.1 200")
    await writer.drain()
    abort(writer)


async def pieces(writer: asyncio.StreamWriter) -> None:
    """An answer that is right, in many packets."""
    for byte in _OK + b"Content-Length: %d\r\n\r\n" % len(KEY_AUTHORIZATION) + KEY_AUTHORIZATION.encode():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.001)


_BOMB: Final = gzip.compress(bytes(10_000_000))
_OK: Final = b"HTTP/1.1 200 OK\r\n"

_REDIRECTS: Final[dict[str, Behaviour]] = {
    name: partial(redirect, location=location) for name, location in LOCATIONS.items()
}
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    **_REDIRECTS,
    "good": partial(say, text=_OK + b"Content-Length: 4\r\n\r\ngood"),
    "pieces": pieces,
    "drip": drip,
    "stall-head": stall,
    "stall-in-head": partial(stall, first=_OK + b"X: y\r\n"),
    "stall-body": partial(stall, first=_OK + b"Content-Length: 100\r\n\r\nto"),
    "stall-chunk": partial(stall, first=_OK + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\nto"),
    "endless-head": partial(endless, first=_OK, again=b"X: " + b"x" * 1000 + b"\r\n"),
    "endless-line": partial(endless, first=_OK + b"X: ", again=b"x" * 1000),
    "endless-interim": partial(endless, first=b"", again=b"HTTP/1.1 102 Processing\r\n\r\n" * 20),
    "endless-body": partial(endless, first=_OK + b"\r\n", again=bytes(65536)),
    "endless-chunks": partial(endless, first=_OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"1\r\nx\r\n" * 100),
    "bomb": partial(say, text=_OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB) + _BOMB),
    "short": partial(say, text=_OK + b"Content-Length: 100\r\n\r\nto"),
    "lengths": partial(say, text=_OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\ntoken"),
    "smuggled": partial(say, text=_OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no-http": partial(say, text=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "http09": partial(say, text=b"token"),
    "bytes": partial(say, text=_OK + b"X-\xff: \xfe\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x1b"),
    "binary": partial(say, text=_OK + b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x1b"),
    "upgrade": partial(say, text=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
    "reset": reset,
    "loop": partial(redirect, location=f"http://loop.{ZONE}{_PATH}"),
    "two-locations": partial(say, text=b"HTTP/1.1 302 F\r\nLocation: /a\r\nLocation: /b\r\n\r\n"),
}


ENDLESS_REDIRECTS: Final = ("chain", "changing")
"""To themselves, at another path each time; the second one's address is another on the way."""

HARMLESS: Final = ("good", "pieces")
"""Those of `BEHAVIOURS` that do nothing wrong."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: reads the request's head, then behaves as Host says."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        kind = kind_of(next((line[5:].strip() for line in lines if line.lower().startswith("host:")), ""))
        if kind in ENDLESS_REDIRECTS:
            number = int(lines[0].split(" ")[1].rpartition("/")[2] or 0) if "/n/" in lines[0] else 0
            await redirect(writer, f"/n/{number + 1}")
        else:
            await BEHAVIOURS.get(kind, BEHAVIOURS["good"])(writer)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass
    finally:
        writer.close()
