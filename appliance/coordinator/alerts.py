"""Readiness in the journal: one line when a reason or a warning comes, one when it goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from appliance.model.status import Readiness

_log = logging.getLogger("mpicd")
INTERVAL_S = 5.0


class Alerts:
    """Tells differences from one readiness to the next."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def note(self, readiness: Readiness) -> None:
        """Logs what is new, reasons as errors and warnings as such, and what is over."""
        now = dict.fromkeys(readiness.warnings, logging.WARNING) | dict.fromkeys(readiness.reasons, logging.ERROR)
        for line, level in now.items():
            if line not in self._before:
                _log.log(level, "%s: %s", "not ready" if level == logging.ERROR else "attention", line)
        for line in self._before.keys() - now.keys():
            _log.info("over: %s", line)
        self._before = now


async def watch(readiness: Callable[[], Readiness], interval_s: float = INTERVAL_S) -> None:
    """Looks every `interval_s` seconds until cancelled, whether anybody asks or not."""
    alerts = Alerts()
    while True:
        alerts.note(readiness())
        await asyncio.sleep(interval_s)
