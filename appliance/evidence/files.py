"""Files of the store: their owner, their mode, and that they are on disk."""

from __future__ import annotations

import os
from pathlib import Path


def opened(path: Path, mode: int) -> int:
    """A descriptor of `path`, made with `mode` where it is not there. A symbolic link is refused. Raises `OSError`."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags)
    os.fchmod(fd, mode)
    give_to_owner_of_directory(path)
    return fd


def give_to_owner_of_directory(path: Path) -> None:
    """What root makes in the store's directory must be the writer's, whose directory it is. Others own what they make."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def make_durable(path: Path) -> None:
    """Returns when the file and its name are on disk. Raises `OSError`."""
    for name in (path, path.parent):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
