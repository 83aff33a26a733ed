"""Whether the kernel's clock is synchronised, by adjtimex(2); nothing is set, so no privilege is needed."""

from __future__ import annotations

import ctypes
import os

import msgspec

# linux/timex.h
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000


class ClockState(msgspec.Struct, frozen=True):
    """The kernel's own account of its clock. Microseconds.

    `synchronised`: some discipline (NTP, PTP) holds the clock (STA_UNSYNC is clear). `offset_us`: the correction still
    being applied. `max_error_us`, `estimated_error_us`: bounds kept by that discipline; the kernel lets the former grow.
    """

    synchronised: bool
    offset_us: int
    max_error_us: int
    estimated_error_us: int


class _Timex(ctypes.Structure):
    """`struct timex` of the C library (64-bit ABI); the tail is reserved by the kernel."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_sec", ctypes.c_long),
        ("time_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)


def clock_state() -> ClockState:
    """The clock's state now; one system call. Raises `OSError` where the kernel refuses to say (a seccomp filter)."""
    timex = _Timex()
    state = _LIBC.adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "adjtimex")
    offset_us = timex.offset // 1000 if timex.status & _STA_NANO else timex.offset
    return ClockState(
        synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        offset_us=offset_us,
        max_error_us=timex.maxerror,
        estimated_error_us=timex.esterror,
    )
