"""False name services at the sockets that a C library or its modules ask, in a mount namespace of their own.

A pathname socket crosses network namespaces: whoever asks one of these from within a perspective is answered from outside.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# nscd of the C library; systemd-resolved's varlink; D-Bus, by which modules of the name-service switch ask; Avahi.
SOCKETS = (
    "nscd/socket",
    "systemd/resolve/io.systemd.Resolve",
    "dbus/system_bus_socket",
    "avahi-daemon/socket",
)


# The requests to nscd that are about users and groups (nscd-client.h of the C library); all others are about hosts and services.
_NSCD_USERS = frozenset({0, 1, 2, 3, 11, 12, 15})
_NSCD_HEADER = struct.Struct("=iii")
_READ_S = 1.0


class NameServices:
    """`asked`: which of `SOCKETS` were asked, but for users and groups. `around`: a command prefix that puts them at `/run`."""

    def __init__(self, directory: Path) -> None:
        self.asked: list[str] = []
        self._directory = directory
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._listening = selectors.DefaultSelector()
        self._listening.register(self._stop_reader, selectors.EVENT_READ)
        for name in SOCKETS:
            path = directory / name
            path.parent.mkdir(parents=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            self._listening.register(listener, selectors.EVENT_READ, name)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def around(self) -> list[str]:
        mounts = 'mount --bind "$0" /run && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, str(self._directory)]

    def close(self) -> None:
        self._stop_writer.send(b"x")
        self._thread.join()
        for key in list(self._listening.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._stop_writer.close()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._listening.select():
                if key.data is None:
                    return
                assert isinstance(key.fileobj, socket.socket)
                connection, _ = key.fileobj.accept()
                with connection:
                    if not _is_of_users(connection):
                        self.asked.append(key.data)


def _is_of_users(connection: socket.socket) -> bool:
    connection.settimeout(_READ_S)
    try:
        _, kind, _ = _NSCD_HEADER.unpack_from(connection.recv(512))
    except (OSError, struct.error):
        return False
    return kind in _NSCD_USERS


@contextmanager
def name_services(directory: Path) -> Iterator[NameServices]:
    directory.mkdir(mode=0o755)
    services = NameServices(directory)
    try:
        yield services
    finally:
        services.close()
