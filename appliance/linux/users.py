"""Users and groups by name or by number."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass

from appliance.errors import ApplianceError


class NoSuchUser(ApplianceError):
    """The system has no user or group of that name, or it is root where that is not allowed."""


@dataclass(frozen=True, slots=True)
class User:
    """A user by number, with its primary group."""

    uid: int
    gid: int


def find_user(user: str | int) -> User:
    """The numbers of `user`; a bare number needs no passwd entry, its group is then the same number. Never root."""
    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
        found = User(entry.pw_uid, entry.pw_gid)
    except (KeyError, OverflowError) as error:
        if isinstance(user, str):
            raise NoSuchUser(f"no user {user!r} on this system") from error
        found = User(user, user)
    if found.uid <= 0 or found.gid <= 0:
        raise NoSuchUser(f"{user!r} is root or has the group root")
    return found


def find_group(group: str | int) -> int:
    """The number of `group`; a bare number needs no group entry."""
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise NoSuchUser(f"no group {group!r} on this system") from error
