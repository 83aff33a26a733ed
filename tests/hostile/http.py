"""What the hostile web servers do, by the first label of the request's Host."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from tests.hostile.addresses import SPECIAL, ZONE

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
"""Redirects that must not be followed, by the first label of Host."""


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
    """Say `first`, then `again` for ever."""
    writer.write(first)
    while True:
        writer.write(again)
        await writer.drain()


async def say(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Say this and close."""
    writer.write(text)
    await writer.drain()


async def redirect(writer: asyncio.StreamWriter, location: str) -> None:
    """To `location`, with the token in the body."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\ntoken"
    await say(writer, head.encode("latin-1"))


async def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST in the middle of the head."""
    writer.write(b"HTTP/1.1 200")
    await writer.drain()
    writer.transport.abort()


_BOMB: Final = gzip.compress(bytes(10_000_000))
_OK: Final = b"HTTP/1.1 200 OK\r\n"

_REDIRECTS: Final[dict[str, Behaviour]] = {
    name: partial(redirect, location=location) for name, location in LOCATIONS.items()
}
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    **_REDIRECTS,
    "good": partial(say, text=_OK + b"Content-Length: 4\r\n\r\ngood"),
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


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: reads the request's head, then behaves as Host says."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        host = next((line[5:].strip().lower() for line in lines if line.lower().startswith("host:")), "")
        label = host.partition(".")[0]
        if label in ENDLESS_REDIRECTS:
            number = int(lines[0].split(" ")[1].rpartition("/")[2] or 0) if "/n/" in lines[0] else 0
            await redirect(writer, f"/n/{number + 1}")
        else:
            await BEHAVIOURS.get(label, BEHAVIOURS["good"])(writer)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass
    finally:
        writer.close()


def names() -> list[str]:
    """Every first label that a check of `acme-http-01` may be sent to; none of them may pass."""
    return [*ENDLESS_REDIRECTS, *BEHAVIOURS, *SPECIAL]
