"""Brings a WireGuard interface to life in the host's namespace: in the kernel, else by wireguard-go."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from appliance.errors import ApplianceError
from appliance.linux import process, wireguard
from appliance.linux.netlink import Netlink, NetlinkRefused
from appliance.linux.users import User

PROGRAM = "wireguard-go"
_START_S = 5.0
_POLL_S = 0.02
# linux/if_tun.h: TUNSETIFF, IFF_TUN
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001


class BackendFailed(ApplianceError):
    """No backend brought the interface to life."""


class Launcher(Protocol):
    """Starts and ends wireguard-go for one interface; it outlives the tunnel daemon."""

    async def start(self, interface: str) -> None:
        """Starts it; the interface may come a little later."""

    async def stop(self, interface: str) -> None:
        """Ends it, and with it the interface; none there is fine."""


class SystemdLauncher:
    """`mpic-wg@INTERFACE.service` is the process."""

    async def start(self, interface: str) -> None:
        """Restarts the unit, so that one that hangs ends."""
        await process.run("systemctl", "restart", f"mpic-wg@{interface}.service")

    async def stop(self, interface: str) -> None:
        """Stops the unit."""
        await process.run("systemctl", "stop", f"mpic-wg@{interface}.service")


class SpawnLauncher:
    """A process of our own, in a session of its own, as `user` with CAP_NET_ADMIN alone.

    It is given its TUN device and its listening socket open, so that neither `/dev/net/tun` nor the directory of
    sockets need be writable for `user`. The device has packet information on, as the wireguard-go of Debian 12 has it.
    """

    def __init__(self, user: User, log_directory: Path) -> None:
        self._user = user
        self._log_directory = log_directory
        self._children: list[subprocess.Popen[bytes]] = []

    async def start(self, interface: str) -> None:
        """Starts the process. Raises `BackendFailed`."""
        self._children = [child for child in self._children if child.poll() is None]
        await self.stop(interface)
        try:
            self._spawn(interface)
        except OSError as error:
            raise BackendFailed(f"{PROGRAM} {interface}: {error}") from error

    async def stop(self, interface: str) -> None:
        """Ends the process that made the interface's socket listen, and removes a stale socket."""
        pid = await wireguard.backend_pid(interface)
        if pid is not None:
            await process.terminate(pid, PROGRAM)
        with suppress(FileNotFoundError):
            wireguard.socket_of(interface).unlink()
        self._children = [child for child in self._children if child.poll() is None]

    def _spawn(self, interface: str) -> None:
        log = self._log_directory / f"{interface}.log"
        with _tun(interface) as tun, _socket(interface, self._user) as listener, log.open("wb") as output:
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "LOG_LEVEL": "error",
                "WG_PROCESS_FOREGROUND": "1",
                "WG_TUN_FD": str(tun),
                "WG_UAPI_FD": str(listener.fileno()),
            }
            child = subprocess.Popen(
                [*_as_user(self._user), PROGRAM, interface],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(tun, listener.fileno()),
                start_new_session=True,
                preexec_fn=partial(_become_backend, listener),  # noqa: PLW1509 -- no threads here hold locks
            )
        self._children.append(child)


async def create(
    interface: str, wanted: Literal["auto", "kernel", "wireguard-go"], host: Netlink, launcher: Launcher
) -> None:
    """Makes `interface` in the host's namespace. Falls back to wireguard-go on EOPNOTSUPP of the link-add alone.

    Raises `NetlinkRefused`, `CommandFailed`, `BackendFailed`.
    """
    if wanted != "wireguard-go":
        try:
            await host.add_wireguard(interface)
        except NetlinkRefused as refused:
            if wanted == "kernel" or refused.number != errno.EOPNOTSUPP:
                raise
        else:
            return
    await launcher.start(interface)
    await _alive(interface, host)


async def _alive(interface: str, host: Netlink) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _START_S
    while loop.time() < deadline:
        if interface in await host.links():
            with suppress(wireguard.NoAnswer):
                await wireguard.ask_backend(interface)
                return
        await asyncio.sleep(_POLL_S)
    raise BackendFailed(f"{PROGRAM} {interface}: not there after {_START_S:g} s")


def _as_user(user: User) -> list[str]:
    only = "-all,+net_admin"
    identity = ["--reuid", str(user.uid), "--regid", str(user.gid), "--clear-groups", "--no-new-privs"]
    return ["setpriv", *identity, "--inh-caps", only, "--ambient-caps", only, "--bounding-set", only]


def _become_backend(listener: socket.socket) -> None:
    # The socket's peer credentials are those of the process that calls listen (unix(7)): the backend's.
    listener.listen()
    # As its unit says: packets are not to put aside who sends them.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextmanager
def _tun(interface: str) -> Iterator[int]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", interface.encode(), _IFF_TUN))
        yield fd
    finally:
        os.close(fd)


def _socket(interface: str, user: User) -> socket.socket:
    wireguard.SOCKETS.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Whoever made it may have had a umask of 077. The backend must reach its socket; what else is there has modes of its own.
    wireguard.SOCKETS.chmod(stat.S_IMODE(wireguard.SOCKETS.stat().st_mode) | 0o111)
    path = wireguard.socket_of(interface)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    # The backend watches the file, for which it must be able to read it.
    os.chown(path, user.uid, user.gid)
    return bound
