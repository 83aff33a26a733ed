"""The worker's end: listens on a pathname Unix socket and admits the coordinator's user alone."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from appliance.errors import ApplianceError
from appliance.ipc.messages import FromWorker, ToWorker
from appliance.ipc.protocol import FramedProtocol

_decoder: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)

_BACKLOG = 16


class SocketInUse(ApplianceError):
    """Another process answers on the socket that this one should."""


class Connection:
    """One admitted coordinator, as the worker sees it."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: _WorkerProtocol) -> None:
        self._protocol = protocol

    @property
    def connected(self) -> bool:
        """Whether the coordinator is still there."""
        return self._protocol.connected

    def send(self, message: FromWorker) -> None:
        """Queues one message; without effect once the coordinator is gone. Raises `BadFrame` where it is too large."""
        self._protocol.send(message)

    def fail(self, text: str) -> None:
        """Reports a broken rule of the channel and drops the connection."""
        self._protocol.fail(text)


class Server:
    """A listening socket and the connections that it admitted. Made by `serve`."""

    def __init__(
        self,
        allowed_uids: Collection[int],
        on_message: Callable[[Connection, ToWorker], None],
        *,
        on_connect: Callable[[Connection], None],
        on_close: Callable[[Connection], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self.allowed_uids = frozenset(allowed_uids)
        self.on_message = on_message
        self.on_connect = on_connect
        self.on_close = on_close
        self.on_fault = on_fault
        self._protocols: set[_WorkerProtocol] = set()
        self._path: Path | None = None
        self._listener: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Replaces a socket file that nobody answers on; raises `SocketInUse` where somebody does."""
        sock = _bind(path)
        self._listener = await asyncio.get_running_loop().create_unix_server(
            lambda: _WorkerProtocol(self), sock=sock, backlog=_BACKLOG
        )
        self._path = path

    def broadcast(self, message: FromWorker) -> None:
        """Sends one message to every connected coordinator."""
        for protocol in tuple(self._protocols):
            protocol.send(message)

    def stop_listening(self) -> None:
        """Admits nobody more; the connections stay."""
        if self._listener is not None and self._path is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)
            self._listener = None

    def close(self) -> None:
        """Stops listening, and closes each connection after what was sent to it has left."""
        self.stop_listening()
        for protocol in tuple(self._protocols):
            protocol.close()

    def _opened(self, protocol: _WorkerProtocol) -> None:
        self._protocols.add(protocol)
        self.on_connect(protocol.connection)

    def _closed(self, protocol: _WorkerProtocol) -> None:
        self._protocols.discard(protocol)
        self.on_close(protocol.connection)


async def serve(
    path: Path,
    allowed_uids: Collection[int],
    on_message: Callable[[Connection, ToWorker], None],
    *,
    on_connect: Callable[[Connection], None] = lambda _: None,
    on_close: Callable[[Connection], None] = lambda _: None,
    on_fault: Callable[[str], None] = lambda _: None,
) -> Server:
    """Listens at `path` (mode 0660, its group that of a set-group-id directory) for peers of `allowed_uids`.

    Peers of another user are dropped before a byte is read, malformed frames drop the connection; both are told to
    `on_fault`. Raises `SocketInUse` where another process listens there.
    """
    server = Server(allowed_uids, on_message, on_connect=on_connect, on_close=on_close, on_fault=on_fault)
    await server.listen(path)
    return server


class _WorkerProtocol(FramedProtocol[ToWorker]):
    def __init__(self, server: Server) -> None:
        super().__init__(_decoder)
        self._server = server
        self.connection = Connection(self)

    def admit(self, uid: int) -> str | None:
        return None if uid in self._server.allowed_uids else f"refused a connection from user id {uid}"

    def opened(self) -> None:
        self._server._opened(self)

    def received(self, message: ToWorker) -> None:
        self._server.on_message(self.connection, message)

    def broke(self, text: str) -> None:
        self._server.on_fault(text)

    def closed(self) -> None:
        self._server._closed(self)


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        _remove_stale(path)
        # Bound with its final mode, so that there is no moment at which others could connect.
        umask = os.umask(0o117)
        try:
            sock.bind(str(path))
            sock.listen(_BACKLOG)
        finally:
            os.umask(umask)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUse(f"{path}: exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SocketInUse(f"{path}: another process listens there")
