"""Named network namespaces: files under `/run/netns` on which the nsfs of a namespace is mounted (ip-netns(8))."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from appliance.linux.process import run

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_libc = ctypes.CDLL(None, use_errno=True)


class NetnsFile(StrEnum):
    """What is at a namespace's path. `PLAIN` is left by a set-up that was interrupted; `OWN` is this process's namespace."""

    MISSING = "missing"
    PLAIN = "plain"
    OWN = "own"
    NETNS = "netns"


def path_of(name: str) -> Path:
    """Where the namespace `name` is, or would be."""
    return DIRECTORY / name


def inode_of(path: Path) -> int:
    """The inode number of the namespace at `path`; 0 where there is no file. Never creates anything."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def kind_of(path: Path) -> NetnsFile:
    """What is at `path`. A namespace of another type counts as a plain file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return NetnsFile.MISSING
    except OSError:
        return NetnsFile.PLAIN
    try:
        if fcntl.ioctl(fd, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            return NetnsFile.PLAIN
        same = os.fstat(fd).st_ino == inode_of(Path("/proc/self/ns/net"))
        return NetnsFile.OWN if same else NetnsFile.NETNS
    except OSError:
        return NetnsFile.PLAIN
    finally:
        os.close(fd)


async def create(name: str) -> None:
    """Makes the namespace `name`. Raises `CommandFailed`, also where the file is already there."""
    await run("ip", "netns", "add", name)


async def delete(name: str) -> None:
    """Removes the namespace's file, mounted or plain. What still runs inside keeps the namespace itself alive."""
    path = path_of(name)
    if kind_of(path) is NetnsFile.PLAIN:
        with suppress(FileNotFoundError):
            path.unlink()
    elif path.exists():
        await run("ip", "netns", "del", name)


@contextmanager
def inside(path: Path) -> Iterator[None]:
    """The calling thread is in the namespace at `path` within the block, which must not await.

    Raises `OSError`. Ends the process where the way back is barred: it must not go on in the wrong namespace.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            try:
                _setns(home)
            except OSError:
                os.abort()
    finally:
        os.close(home)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
