"""Files that others read while we write, and directories with the owner and mode that their users need."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from appliance.errors import ApplianceError


class WrongOwner(ApplianceError):
    """A directory that must be root's own is somebody else's, or is no directory."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Puts `content` at `path` in one step; readers see the old file or the new one. `durable`: it outlives a power cut."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
        if durable:
            file.flush()
            os.fsync(fd)
    beside.replace(path)
    if durable:
        _sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Removes the file, and a power cut does not bring it back; none there is fine."""
    path.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ensure_directory(path: Path, uid: int, gid: int, mode: int) -> None:
    """Makes `path` a directory of this owner and mode; its parent must exist. A symbolic link there is refused.

    Raises `WrongOwner` where another user than root or `uid` has made it, `OSError`.
    """
    path.mkdir(exist_ok=True, mode=0o700)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise WrongOwner(f"{path}: must be a directory, no link") from error
    try:
        found = os.fstat(fd)
        if found.st_uid not in {0, uid}:
            raise WrongOwner(f"{path}: belongs to user {found.st_uid}, must be that of {uid}")
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(fd, uid, gid)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
    finally:
        os.close(fd)
