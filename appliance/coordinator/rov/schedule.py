"""When each perspective is measured: quickly at enrolment, then spread over the day and jittered, one at a time."""

from __future__ import annotations

import asyncio
import logging
import random

from appliance.coordinator.rov.measurement import Measurement

_RANDOM = random.SystemRandom()
_FAULT_PAUSE_S = 60.0
_EXPIRE_S = 60.0
_log = logging.getLogger("mpicd.rov")


async def keep_measuring(measurement: Measurement) -> None:
    """Measures for ever; made for a task that is cancelled. Who could filter by the clock must not know the times."""
    loop = asyncio.get_running_loop()
    due_s = {code: loop.time() + _first_pause_s(measurement, code) for code in measurement.sites}
    while due_s:
        code = min(due_s, key=lambda one: due_s[one])
        await asyncio.sleep(max(0.0, due_s[code] - loop.time()))
        try:
            await measurement.measure(code)
            due_s[code] = loop.time() + pause_s(measurement, code)
        except Exception:
            _log.exception("measuring %s failed unexpectedly", code)
            due_s[code] = loop.time() + _FAULT_PAUSE_S


async def keep_fresh(measurement: Measurement) -> None:
    """Lets what is too old to count fall, for ever, whether anything is measured or not."""
    while True:
        await asyncio.sleep(_EXPIRE_S)
        try:
            await measurement.expire()
        except Exception:
            _log.exception("what is too old could not be forgotten")


def pause_s(measurement: Measurement, code: str) -> float:
    """Seconds until the next round of `code`."""
    standings = measurement.standings.of(code).values()
    if not all(standing.enrolled(measurement.rules) for standing in standings):
        return measurement.config.enrolment_interval_s
    return measurement.config.interval_s * _RANDOM.uniform(0.5, 1.5)


def _first_pause_s(measurement: Measurement, code: str) -> float:
    """After a restart those who are enrolled go on in their own time."""
    return pause_s(measurement, code) * _RANDOM.random()
