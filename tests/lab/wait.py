"""Waiting for a state, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar


class NotReachedError(Exception):
    """A state that was waited for did not come within its limit."""


T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float, what: str, interval_s: float = 0.02) -> T:
    """Poll `predicate` until it is true, and return its value; `NotReachedError` names `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := predicate():
            return value
        if time.monotonic() > deadline:
            raise NotReachedError(f"{what}: not within {timeout_s:g} s")
        time.sleep(interval_s)
