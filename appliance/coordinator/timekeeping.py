"""The clock: whether decisions may go by it, and the policy date that follows from it and from the evidence."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from appliance.config import ClockConfig
from appliance.coordinator.day import policy_day
from appliance.coordinator.records import clock_accepted_event
from appliance.errors import ApplianceError
from appliance.evidence.record import Actor, EvidenceRecord, Receipt, utc_text
from appliance.linux.clock import ClockState


class ClockNotTrusted(ApplianceError):
    """The clock may be wrong, so that nothing is decided: HTTP 503. The text says why and what to do."""


class DateRefused(ApplianceError):
    """The clock's date cannot become the policy date. The text says why and what to do."""


class Dated(Protocol):
    """What of the evidence decides the policy date."""

    def submit(self, record: EvidenceRecord) -> asyncio.Future[Receipt]:
        """Queues a record; the future gives the receipt, or `EvidenceUnavailable`."""

    def newest_record_time(self) -> datetime | None:
        """The latest time that any record bears, from the last accepted date on."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, as an argument. `built`: the day on which this software was made. `monotonic_s`: for lengths of time."""

    now: Callable[[], datetime]
    state: Callable[[], ClockState]
    built: date
    monotonic_s: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class DateAccepted:
    """`before` and `date`: the policy date before and after. `receipt` is None if there was nothing to change."""

    before: date
    date: date
    receipt: Receipt | None


class Timekeeping:
    """Shared by decisions, partners' checks and the status. Has to be looked at every few seconds, by `refusal` or `warnings`:
    the clock is taken to be between two looks as it was at the first of them."""

    def __init__(self, clock: Clock, rules: ClockConfig, evidence: Dated) -> None:
        self.clock = clock
        self._rules = rules
        self._evidence = evidence
        self._since_s: float | None = None
        # A restart must not begin the grace anew: for how long the clock had run free before is not known.
        self._held_once = False

    def today(self) -> date:
        """The policy date: the date that the dated tables are read with."""
        return policy_day(self.clock.now(), self._evidence.newest_record_time(), self.clock.built)

    def refusal(self) -> str | None:
        """Return why nothing may be decided by this clock now, None if it may. Ends by itself once the clock is right again."""
        unsynchronised_s = self._unsynchronised_s()
        if (implausible := self._implausible()) is not None:
            return implausible
        grace_s = self._rules.grace_s
        if not self._rules.require_synchronised or unsynchronised_s is None or unsynchronised_s < grace_s:
            return None
        lasting = (
            f"for clock.grace_s = {grace_s} s or longer" if self._held_once else "and has not been since mpicd started"
        )
        return f"the kernel's clock is not synchronised, {lasting}; repair the time service (chronyc tracking, timedatectl)"

    def warnings(self) -> tuple[str, ...]:
        """What an answer and its record have to say of the clock, whatever is decided."""
        found = []
        if not self._rules.require_synchronised:
            found.append("clock.require_synchronised is false: the time of this record may be wrong; set it to true")
        if self._unsynchronised_s() is not None:
            found.append("the kernel's clock is not synchronised")
        day = self.today()
        if day > self._date():
            found.append(
                f"the clock's date is before {day}, which is that of the newest record or of this software; if the clock was"
                " wrong then and is right now, run mpicctl clock accept-date"
            )
        return tuple(found)

    async def accept_date(self, actor: Actor) -> DateAccepted:
        """Make the clock's date the policy date, on record; from there it grows again.

        Raises `DateRefused` unless the clock is synchronised and not before the build; `EvidenceUnavailable`.
        """
        before, date_now = self.today(), self._date()
        if not self.clock.state().synchronised:
            raise DateRefused(
                "the kernel's clock is not synchronised, so that its date proves nothing; repair the time service first"
                " (chronyc tracking, timedatectl)"
            )
        if (implausible := self._implausible()) is not None:
            raise DateRefused(implausible)
        if before <= date_now:
            return DateAccepted(before, before, None)
        event = clock_accepted_event(
            actor, before, self.clock.built, self.clock.state(), time=utc_text(self.clock.now())
        )
        receipt = await self._evidence.submit(event)
        return DateAccepted(before, self.today(), receipt)

    def _date(self) -> date:
        return self.clock.now().astimezone(UTC).date()

    def _implausible(self) -> str | None:
        """A clock that stands before the build is wrong, even if something claims to synchronise it."""
        if self._date() >= self.clock.built:
            return None
        return (
            f"the clock's date, {self._date()}, is before the day on which this software was made, {self.clock.built}; set"
            " the clock right"
        )

    def _unsynchronised_s(self) -> float | None:
        """Seconds since it was first seen unsynchronised, None while it is synchronised; infinite if it never was."""
        if self.clock.state().synchronised:
            self._since_s = None
            self._held_once = True
            return None
        if not self._held_once:
            return math.inf
        now_s = self.clock.monotonic_s()
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s
