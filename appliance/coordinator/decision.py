"""What the coordinator gives back for a question: every attempt, the verdict over the last, and where it is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.coordinator.plan import Plan
from appliance.coordinator.question import Question
from appliance.evidence.record import Attempt, PerspectiveSetRef, Receipt
from appliance.linux.clock import ClockState
from appliance.model.decision import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One attempt over all perspectives. `primary` is None where the caller stated its own determination."""

    verdict: Verdict
    primary: Attempt | None
    remotes: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """`attempts` in order, at least one; the last one's verdict is the answer. `receipt`: of the last one's record."""

    question: Question
    plan: Plan
    attempts: tuple[Judged, ...]
    receipt: Receipt
    perspective_set: PerspectiveSetRef
    br_section: str
    br_version: str
    clock: ClockState
    warnings: tuple[str, ...]

    @property
    def last(self) -> Judged:
        """The attempt that is answered."""
        return self.attempts[-1]
