"""The commands that a worker gives its resolver, in unbound-control(8)'s protocol on a Unix socket."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from appliance.errors import ApplianceError

_PROTOCOL_VERSION = 1
_MAX_ANSWER_BYTES = 4096
# A line is a command with its words: nothing else may get into it by way of a name.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


class ResolverRefused(ApplianceError):
    """The resolver is not there, or did not do as it was told."""


async def flush_infrastructure(control_socket: Path, timeout_s: float) -> None:
    """Makes the resolver forget which servers did not answer. Raises `ResolverRefused`.

    After an outage unbound goes on for seconds to fail at once for servers that it could not reach meanwhile.
    """
    await _command(control_socket, "flush_infra all", timeout_s)


async def flush_caa(control_socket: Path, name: str, timeout_s: float) -> None:
    """Makes the resolver forget what it has of CAA at `name`, failures among it. Raises `ResolverRefused`."""
    if not _NAME.fullmatch(name):
        raise ResolverRefused(f"{name[:255]!r} is no name to forget")
    await _command(control_socket, f"flush_type {name} CAA", timeout_s)


async def _command(control_socket: Path, command: str, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(control_socket))
            try:
                writer.write(b"UBCT%d %s\n" % (_PROTOCOL_VERSION, command.encode("ascii")))
                answer = await reader.read(_MAX_ANSWER_BYTES)
            finally:
                writer.close()
    except TimeoutError as error:
        raise ResolverRefused(f"{control_socket}: no answer within {timeout_s:g} s") from error
    except OSError as error:
        raise ResolverRefused(f"{control_socket}: {error.strerror or error}") from error
    if answer.strip() != b"ok":
        raise ResolverRefused(f"{control_socket}: answered {answer[:100]!r}")
