"""Serves applications on Unix sockets and TCP in the running loop, and stops without dropping what was accepted."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from pathlib import Path

from uvicorn.server import ServerState

from appliance.api.callers.gate import Gate, Peer
from appliance.api.http import Application
from appliance.api.protocol import protocol_factory
from appliance.api.tls import TlsListener, tcp_peer
from appliance.errors import ConfigError
from appliance.ipc.protocol import peer_uid
from appliance.linux.users import find_group

_BACKLOG = 1024


class HttpServer:
    """Listening sockets, each with its application. Not to be used again after `stop`."""

    def __init__(self, max_connections: int) -> None:
        self._state = ServerState()
        self._max_connections = max_connections
        self._listeners: list[tuple[Path | None, asyncio.Server | TlsListener]] = []

    async def listen(self, path: Path, group: str | int, application: Application) -> None:
        """Serves `application` at `path` (mode 0660, `group`). Raises `ConfigError` where that cannot be, `NoSuchUser`.

        A socket file that nobody answers on is replaced.
        """
        sock = _bound(path, group)
        factory = protocol_factory(application, self._state, self._max_connections, _unix_peer)
        server = await asyncio.get_running_loop().create_unix_server(factory, sock=sock, backlog=_BACKLOG)
        self._listeners.append((path, server))

    async def listen_tcp(
        self, address: str, port: int, tls: ssl.SSLContext | None, gate: Gate, application: Application
    ) -> None:
        """Serves `application` at `address`. Raises `ConfigError` where that cannot be."""
        loop = asyncio.get_running_loop()
        http = protocol_factory(application, self._state, self._max_connections, tcp_peer)

        try:
            if tls is None:
                plain = await loop.create_server(http, address, port, backlog=_BACKLOG)
                self._listeners.append((None, plain))
            else:
                sock = _listening(address, port)
                self._listeners.append((None, TlsListener(sock, tls, gate, http, self._max_connections)))
        except OSError as error:
            raise ConfigError([f"{address} port {port}: {error.strerror}"]) from error

    async def stop(self, within_s: float) -> None:
        """Accepts nobody more, and waits up to `within_s` seconds for the requests that were accepted."""
        for path, server in self._listeners:
            if path is not None:
                path.unlink(missing_ok=True)
            server.close()
        handshakes = [server for _, server in self._listeners if isinstance(server, TlsListener)]
        self._listeners.clear()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            _, unfinished = await asyncio.wait(set(self._state.tasks), timeout=within_s)
            for task in unfinished:
                task.cancel()
        for connection in list(self._state.connections):
            connection.transport.close()
        for listener in handshakes:
            listener.drop_handshakes()


def _listening(address: str, port: int) -> socket.socket:
    """Bound to exactly this address, as `asyncio.loop.create_server` binds."""
    sock = socket.create_server(
        (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=_BACKLOG
    )
    sock.setblocking(False)
    return sock


def _bound(path: Path, group: str | int) -> socket.socket:
    """Made under another name and moved into place when its mode and group are right: nobody can connect before."""
    _refuse_live(path)
    gid = find_group(group)
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        umask = os.umask(0o177)
        try:
            sock.bind(str(partial))
        finally:
            os.umask(umask)
        os.chown(partial, -1, gid)
        partial.chmod(0o660)
        sock.listen(_BACKLOG)
        partial.rename(path)
    except OSError as error:
        sock.close()
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    return sock


def _refuse_live(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    if not stat.S_ISSOCK(mode):
        raise ConfigError([f"{path}: exists and is not a socket"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise ConfigError([f"{path}: another process listens there"])


def _unix_peer(transport: asyncio.BaseTransport) -> Peer:
    return Peer(uid=peer_uid(transport.get_extra_info("socket")))
