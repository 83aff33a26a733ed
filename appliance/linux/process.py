"""Commands and processes of others: run with a time limit, ended by a handle that cannot name the wrong one."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path

from appliance.errors import ApplianceError

_LIMIT_S = 10.0
_MOST_OUTPUT = 4 << 20
_REAP_S = 2.0


class CommandFailed(ApplianceError):
    """A command ended with another status than 0, or not in time. The text has the command, ready to paste."""


async def run(*command: str, stdin: bytes = b"", timeout_s: float = _LIMIT_S) -> bytes:
    """Runs `command` and gives its standard output. Secrets go through `stdin`. Raises `CommandFailed`."""
    shown = shlex.join(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError as error:
        raise CommandFailed(f"{shown}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await _exchange(process, stdin)
    except asyncio.LimitOverrunError as error:
        raise CommandFailed(f"{shown}: more output than {_MOST_OUTPUT} octets") from error
    except TimeoutError as error:
        raise CommandFailed(f"{shown}: no end after {timeout_s:g} s") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await _reaped(process)
    if process.returncode != 0:
        text = complaint.decode(errors="replace").strip().replace("\n", "; ")
        raise CommandFailed(f"{shown}: exit status {process.returncode}: {text}")
    return output


async def _exchange(process: asyncio.subprocess.Process, stdin: bytes) -> tuple[bytes, bytes]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("all three are pipes")
    with suppress(ConnectionError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    output, complaint = await _bounded(process.stdout), await _bounded(process.stderr)
    await process.wait()
    return output, complaint


async def _reaped(process: asyncio.subprocess.Process) -> None:
    """Waits for the end of a killed process. asyncio tells of it only once its pipes are read to their ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REAP_S):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(65536):
                    pass
            await process.wait()


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while chunk := await stream.read(65536):
        found += chunk
        if len(found) > _MOST_OUTPUT:
            raise asyncio.LimitOverrunError("too much", len(found))
    return bytes(found)


def peer_pid(connection: socket.socket) -> int:
    """The process that made the other end of a connected Unix socket listen (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def command_name(pid: int) -> str:
    """The name of the program that `pid` runs, at most 15 characters; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


async def terminate(pid: int, name: str, *, grace_s: float = 2.0) -> None:
    """Ends process `pid` if it runs the program `name`: SIGTERM, then SIGKILL. Gone already is fine."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if command_name(pid) != name[:15]:
            return
        for number, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if await _ended(handle, limit_s):
                return
    finally:
        os.close(handle)


async def _ended(handle: int, limit_s: float) -> bool:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(limit_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
    return True
