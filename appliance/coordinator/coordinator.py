"""The coordinator: asks, judges, records, and only then answers. It never touches the Internet."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Protocol

from appliance.config import ClockConfig, TimeLimits
from appliance.coordinator.decision import Decision, Judged
from appliance.coordinator.fanout import Fanout
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.plan import Plan, plan
from appliance.coordinator.proofs import UNOPPOSED, Standing
from appliance.coordinator.question import Question
from appliance.coordinator.records import (
    InForce,
    br_section,
    decision_record,
    late_observation,
    refused_for_clock,
    refused_request,
)
from appliance.coordinator.timekeeping import Clock, ClockNotTrusted, Timekeeping
from appliance.coordinator.verdicts import Rules
from appliance.errors import BadRequest, EvidenceUnavailable
from appliance.evidence.record import EvidenceRecord, PerspectiveSetRef, Receipt, utc_text
from appliance.model.check import method_of
from appliance.model.observation import Observation
from appliance.policy.br_table import BR_VERSION
from appliance.policy.fleet import Fleet
from appliance.policy.methods import Discouraged, permitted

_log = logging.getLogger("mpicd")

# Of the answer's time, what is kept for hearing late perspectives, and for making the record durable.
_RESERVE_SHARE = 0.15
_SHORTEST_ATTEMPT_S = 0.5


class Evidence(Protocol):
    """What the coordinator needs of `appliance.evidence.writer.EvidenceWriter`."""

    failure: str | None

    def submit(self, record: EvidenceRecord) -> asyncio.Future[Receipt]:
        """Queues a record; the future gives the receipt, or `EvidenceUnavailable`."""

    def newest_record_time(self) -> datetime | None:
        """The latest time that any record bears."""


class Coordinator:
    """Decides questions, many at once, in one event loop. `evidence`, `perspectives` and the fleets are shared with `status`.

    `configured`: the whole fleet; `fleet`: the part of it in service, which decisions are made with. `standing`: what
    stands against the perspectives' observations now, by code. `cautions`: what an answer of these remotes has to warn of.
    """

    def __init__(
        self,
        fleet: Fleet,
        perspectives: Perspectives,
        evidence: Evidence,
        *,
        in_force: InForce,
        limits: TimeLimits,
        clock: Clock,
        secret: bytes,
        clock_rules: ClockConfig | None = None,
        configured: Fleet | None = None,
        standing: Callable[[], Mapping[str, Standing]] = dict,
        cautions: Callable[[Iterable[str]], list[str]] = lambda _: [],
    ) -> None:
        self.configured = configured or fleet
        self.fleet = fleet
        self.perspectives = perspectives
        self.evidence = evidence
        self.time = Timekeeping(clock, clock_rules or ClockConfig(), evidence)
        self._in_force = in_force
        self._limits = limits
        self._secret = secret
        self.standing = standing
        self._cautions = cautions
        self._fanout = Fanout(perspectives, fleet.primary, limits, self._note_late, standing)

    def today(self) -> date:
        """The date that the dated table is read with now."""
        return self.time.today()

    @property
    def clock(self) -> Clock:
        """The time."""
        return self.time.clock

    def in_flight(self, code: str) -> int:
        """How many attempts under way include the remote `code`; a drained one gets no more."""
        return self._fanout.asking[code]

    @property
    def asking(self) -> Counter[str]:
        """What is counted by `in_flight`; checks for others' quorums count here, too."""
        return self._fanout.asking

    def objection(self, code: str) -> str | None:
        """Why an observation of `code` may count for nobody now, be it in a quorum of others': its proofs, what `rov.policy`
        requires, or that it is drained."""
        in_service = (self.fleet.primary, *self.fleet.remotes)
        if all(site.code != code for site in in_service):
            return "drained by its operator"
        return self.standing().get(code, UNOPPOSED).withheld

    def put_in_force(self, fleet: Fleet, recorded: PerspectiveSetRef) -> None:
        """Decides what is asked from now on with `fleet`, which is on record as `recorded`."""
        self.fleet = fleet
        self._in_force = replace(self._in_force, perspective_set=recorded)

    async def decide(self, question: Question) -> Decision:
        """The decision, once it is durable. Takes less than `limits.answer_s`, whatever the perspectives do.

        Raises `BadRequest` and `ClockNotTrusted` (nothing was asked of any perspective) and `EvidenceUnavailable` (there is no
        answer).
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._limits.answer_s
        now, day = self.clock.now(), self.today()
        self._refuse_by_clock(question, now)
        fleet, in_force = self.fleet, self._in_force
        try:
            chosen = plan(question, fleet, day, self._secret)
        except BadRequest as refusal:
            self._note(refused_request(question, refusal, self._in_force.actor, time=utc_text(now)))
            raise
        rules = Rules(fleet, day, chosen.quorum_count)
        attempts: list[Judged] = []
        receipts: list[asyncio.Future[Receipt]] = []
        while True:
            within_s = (end_s - loop.time()) * (1 - _RESERVE_SHARE)
            attempts.append(
                await self._fanout.attempt(question, chosen, rules, now=self.clock.now(), within_s=within_s)
            )
            state, warnings = self.clock.state(), self._warnings(question, day, chosen)
            record = decision_record(
                question,
                attempts[-1],
                in_force,
                received_at=utc_text(now),
                time=utc_text(self.clock.now()),
                clock=state,
                warnings=warnings,
            )
            receipts.append(self.evidence.submit(record))
            exhausted = len(attempts) == chosen.max_attempts or end_s - loop.time() < _SHORTEST_ATTEMPT_S
            if attempts[-1].verdict.is_valid or exhausted:
                break
        return Decision(
            question=question,
            plan=chosen,
            attempts=tuple(attempts),
            receipt=await _durable(receipts, end_s),
            perspective_set=in_force.perspective_set,
            br_section=br_section(question),
            br_version=BR_VERSION,
            clock=state,
            warnings=warnings,
        )

    def _refuse_by_clock(self, question: Question, now: datetime) -> None:
        """Raise `ClockNotTrusted`, on record, while nothing may be decided by this clock."""
        reason = self.time.refusal()
        if reason is None:
            return
        event = refused_for_clock(
            reason,
            question.caller,
            self._in_force.actor,
            trace_id=question.trace_identifier,
            identifier=question.identifier.value,
            time=utc_text(now),
        )
        self._note(event)
        raise ClockNotTrusted(f"nothing is decided: {reason}")

    def _warnings(self, question: Question, day: date, chosen: Plan) -> tuple[str, ...]:
        return (
            *_method_warnings(question, day),
            *self.time.warnings(),
            *self._cautions(site.code for site in chosen.remotes),
        )

    def _note_late(self, question: Question, observation: Observation) -> None:
        self._note(late_observation(question, observation, self._in_force.actor, time=utc_text(self.clock.now())))

    def _note(self, event: EvidenceRecord) -> None:
        """Records what no answer depends on."""
        self.evidence.submit(event).add_done_callback(_log_failure)


async def _durable(receipts: list[asyncio.Future[Receipt]], end_s: float) -> Receipt:
    """The last of the receipts, when all are there."""
    try:
        async with asyncio.timeout_at(end_s):
            for receipt in receipts:
                last = await receipt
    except TimeoutError as error:
        raise EvidenceUnavailable("the record did not become durable in time") from error
    return last


def _method_warnings(question: Question, day: date) -> list[str]:
    ruling = permitted(method_of(question.check), day)
    return [ruling.warning] if isinstance(ruling, Discouraged) else []


def _log_failure(receipt: asyncio.Future[Receipt]) -> None:
    if not receipt.cancelled() and receipt.exception() is not None:
        _log.error("an event was not recorded: %s", receipt.exception())
