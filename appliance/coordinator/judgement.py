"""Why each perspective is not eligible now: its hand-off proofs, what `rov.policy` makes of its path, and what others' report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from appliance.config import Settings
from appliance.coordinator.partners import Partners
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import Proofs, Standing, Submit
from appliance.coordinator.rov.gate import RovGate
from appliance.coordinator.rov.measurement import Measurement
from appliance.coordinator.rov.opening import open_measurement
from appliance.coordinator.rov.schedule import keep_fresh, keep_measuring
from appliance.evidence.record import Actor
from appliance.policy.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Judgement:
    """The same for our own decisions and for checks that others ask for. `scheduled`: whether it measures by itself."""

    proofs: Proofs
    measurement: Measurement
    gate: RovGate
    partners: Partners
    scheduled: bool

    def standings(self) -> Mapping[str, Standing]:
        """By perspective code."""
        return self.partners.over(self.gate.over(self.proofs.standings()))

    def start(self, stack: contextlib.AsyncExitStack) -> asyncio.Task[None]:
        """Keeps it true until `stack` ends; the task that judges the proofs, which never ends by itself."""
        proving = asyncio.create_task(self.proofs.run(), name="proofs")
        kept = [proving, asyncio.create_task(keep_fresh(self.measurement), name="rov expiry")]
        if self.scheduled:
            kept.append(asyncio.create_task(keep_measuring(self.measurement), name="rov"))
        for task in kept:
            stack.callback(task.cancel)
        return proving


async def open_judgement(
    settings: Settings,
    fleet: Fleet,
    perspectives: Perspectives,
    submit: Submit,
    actor: Actor,
    now: Callable[[], datetime],
) -> Judgement:
    """Of every perspective of `fleet` that has a worker here. Raises `ConfigError` for the file of beacons."""
    measurement = open_measurement(settings, perspectives, submit, actor, now)
    # What was measured before a long silence is no verdict any more, from the first decision on.
    await measurement.expire()
    return Judgement(
        Proofs(settings, fleet, perspectives, submit, actor, now),
        measurement,
        RovGate(measurement, settings.rov.policy, settings.primary.code),
        Partners(settings, perspectives),
        scheduled=settings.rov.schedule and settings.rov.vrp_file is not None,
    )
