"""Capabilities (capabilities(7)): gives up, for this process and all that it starts, every one that is not named."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from enum import IntEnum

# linux/prctl.h, linux/capability.h
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class Capability(IntEnum):
    """Those in use here, by their numbers in linux/capability.h."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_ADMIN = 12
    SYS_ADMIN = 21


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def keep_only(kept: Collection[Capability]) -> None:
    """Drops the rest from the bounding, permitted and effective sets; the inheritable one becomes empty. Raises `OSError`."""
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if number not in set(kept):
            _checked(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "PR_CAPBSET_DROP")
        number += 1
    mask = sum(1 << capability for capability in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    _checked(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data)), "capset")


def _checked(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
