"""Who did something, from the user id that the kernel vouches for."""

from __future__ import annotations

import os
import pwd

from appliance.evidence.record import Actor


def actor_of(uid: int | None = None) -> Actor:
    """The user `uid` (that of a socket's peer), or of this process. The login is "" where the system has no such user."""
    number = os.getuid() if uid is None else uid
    try:
        return Actor(number, pwd.getpwuid(number).pw_name)
    except KeyError:
        return Actor(number, "")
