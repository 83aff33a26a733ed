"""The tunnel daemon's ear for operators: one framed JSON request on a Unix socket, one answer. It opens no other socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE, ApplianceError
from appliance.ipc.framing import HEADER_BYTES, encode
from appliance.ipc.protocol import peer_uid
from appliance.model.keys import KeyAnswer, KeyRequest, KeyState
from appliance.tunnels.rotation import RetireDue, Rotation

_log = logging.getLogger(__name__)
_MAX_REQUEST_BYTES = 4096
_REQUEST_S = 5.0
_decoder: msgspec.json.Decoder[KeyRequest] = msgspec.json.Decoder(KeyRequest)


@contextlib.asynccontextmanager
async def listening(path: Path, gid: int, rotation: Rotation) -> AsyncIterator[None]:
    """Answers at `path`, for root and group `gid` (mode 0660), within the block. Raises `OSError`."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        try:
            writer.write(encode(await _answer(reader, writer, rotation)))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, *UNDECODABLE) as error:
            _log.warning("control: %s", error or type(error).__name__)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(connected, sock=_bound(path, gid), limit=_MAX_REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 -- on tmpfs
        for task in list(tasks):
            task.cancel()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rotation: Rotation) -> KeyAnswer:
    async with asyncio.timeout(_REQUEST_S):
        length = int.from_bytes(await reader.readexactly(HEADER_BYTES), "big")
        if not 0 < length <= _MAX_REQUEST_BYTES:
            return KeyAnswer(error=f"a frame of {length} bytes, not 1 to {_MAX_REQUEST_BYTES}")
        request = _decoder.decode(await reader.readexactly(length))
    uid = peer_uid(writer.get_extra_info("socket"))
    try:
        state = await _step(request, rotation)
    except (ApplianceError, OSError) as error:
        _log.warning("user %d: keys %s %s: %s", uid, request.step, request.perspective, error)
        return KeyAnswer(error=str(error), retire_due=isinstance(error, RetireDue))
    _log.info("user %d: keys %s %s: slot %s, %s", uid, request.step, request.perspective, state.slot, state.public_key)
    return KeyAnswer(state)


async def _step(request: KeyRequest, rotation: Rotation) -> KeyState:
    match request.step:
        case "prepare":
            return await rotation.prepare(request.perspective)
        case "activate":
            return await rotation.activate(request.perspective, former=request.former)
        case "retire":
            return await rotation.retire(request.perspective)


def _bound(path: Path, gid: int) -> socket.socket:
    """Under another name first: nobody can connect before mode and group are right. This process is the only one (its lock)."""
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        bound.bind(str(partial))
    finally:
        os.umask(before)
    os.chown(partial, 0, gid)
    partial.chmod(0o660)
    bound.listen(8)
    partial.replace(path)
    return bound
