"""One attempt: every perspective asked at once, and judged when all have answered or the limits are reached."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from appliance.config import TimeLimits
from appliance.coordinator.decision import Judged
from appliance.coordinator.gather import Answer, Round, Waits, attempt_of, corroborates, cut_off, unreachable, wait_for
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.plan import Plan
from appliance.coordinator.proofs import UNOPPOSED, Standing
from appliance.coordinator.question import Question
from appliance.coordinator.verdicts import Rules
from appliance.errors import ChannelClosed
from appliance.evidence.record import Attempt
from appliance.model.check import CheckRequest, method_of
from appliance.model.observation import Observation
from appliance.model.place import Site

# A look-up of which nothing is cached takes some eight questions, one after the other, over the perspective's own way; what the
# others have cached tells nothing of how long that is.
_STRAGGLER_ROUND_TRIPS = 10
# Twice around half the world by fibre; another appliance says what it likes of its own.
_MOST_ROUND_TRIP_US = 400_000
# A perspective that keeps its own deadline is heard before it is cut off.
_TRANSIT_S = 0.1

Stands = Callable[[], Mapping[str, Standing]]
LateSink = Callable[[Question, Observation], None]


class Fanout:
    """Runs attempts. `on_late` is given each observation that arrives after its attempt was judged.

    `asking`: how many attempts under way include each remote.

    `standing`: what stands against perspectives, by code; it is asked when they are asked, and when they are judged.
    """

    def __init__(
        self, perspectives: Perspectives, primary: Site, limits: TimeLimits, on_late: LateSink, standing: Stands
    ) -> None:
        self._perspectives = perspectives
        self._primary = primary
        self._limits = limits
        self._on_late = on_late
        self._standing = standing
        self._run = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self.asking: Counter[str] = Counter()

    async def attempt(
        self, question: Question, chosen: Plan, rules: Rules, *, now: datetime, within_s: float
    ) -> Judged:
        """One fresh attempt. Takes at most `within_s`, and then a tenth of it for what late perspectives saw."""
        codes = [site.code for site in chosen.remotes]
        self.asking.update(codes)
        try:
            return await self._attempt(question, chosen, rules, now=now, within_s=within_s)
        finally:
            self.asking.subtract(codes)

    async def _attempt(
        self, question: Question, chosen: Plan, rules: Rules, *, now: datetime, within_s: float
    ) -> Judged:
        asked = Round(
            f"{self._run}-{next(self._numbers)}", method_of(question.check), now, asyncio.get_running_loop().time()
        )
        sites = {site.code: site for site in chosen.remotes}
        if question.caller_statement is None:
            sites[self._primary.code] = self._primary
        before = self._standing()
        down, answers = self._ask(sites, question, asked, within_s)
        waits = Waits(within_s, self._straggler_s(answers), within_s / 10)

        def settled() -> bool:
            passed: dict[str, bool | None] = dict.fromkeys(down, False)
            passed.update((code, _passed(answer, before.get(code, UNOPPOSED))) for code, answer in answers.items())
            stated = question.caller_statement
            primary = passed.pop(self._primary.code) if stated is None else stated.passed
            return rules.settled(primary=primary, remotes=passed)

        await wait_for(answers, settled, waits)
        late = await cut_off(answers, lambda code: self._perspectives.cancel(code, asked.request_id), waits.grace_s)
        attempts = down
        for code, answer in answers.items():
            attempts[code] = attempt_of(sites[code], answer, asked, late=code in late)
            if not answer.done():
                answer.add_done_callback(lambda done: self._arrived_late(question, done))
        attempts = opposed(attempts, before, self._standing())
        self._perspectives.remember(question.identifier.value, attempts.values())
        return _judged(question, chosen, rules, attempts, self._primary.code)

    def _ask(
        self, sites: Mapping[str, Site], question: Question, asked: Round, within_s: float
    ) -> tuple[dict[str, Attempt], dict[str, Answer]]:
        """Asks every site at once; those that are down are known to fail, and not waited for."""
        deadline_ms = round(min(self._limits.check_s, max(within_s - _TRANSIT_S, within_s / 2)) * 1000)
        down: dict[str, Attempt] = {}
        answers: dict[str, Answer] = {}
        self._perspectives.refresh()
        for code, site in sites.items():
            reason = self._perspectives.down(code)
            if reason is None:
                request = CheckRequest(asked.request_id, code, question.identifier, question.check, deadline_ms)
                try:
                    answers[code] = self._perspectives.ask(request)
                    continue
                except ChannelClosed as error:
                    reason = str(error)
            down[code] = unreachable(site, asked, reason)
        return down, answers

    def _straggler_s(self, codes: Iterable[str]) -> float:
        """How long to wait at least for the last of `codes` once the verdict is known."""
        workers = (self._perspectives.worker(code) for code in codes)
        farthest_us = max((worker.path_rtt_us or 0 for worker in workers if worker is not None), default=0)
        return max(self._limits.straggler_s, _STRAGGLER_ROUND_TRIPS * min(farthest_us, _MOST_ROUND_TRIP_US) / 1_000_000)

    def _arrived_late(self, question: Question, answer: Answer) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._on_late(question, answer.result())


def _passed(answer: Answer, standing: Standing) -> bool | None:
    if standing.withheld is not None:
        return False
    if not answer.done():
        return None
    return answer.exception() is None and answer.result().corroborates


def _judged(question: Question, chosen: Plan, rules: Rules, attempts: Mapping[str, Attempt], primary: str) -> Judged:
    remotes = tuple(attempts[site.code] for site in chosen.remotes)
    stated = question.caller_statement
    own = attempts[primary] if stated is None else None
    verdict = rules.verdict(
        primary=corroborates(own) if own is not None else stated is not None and stated.passed,
        remotes={attempt.perspective: corroborates(attempt) for attempt in remotes},
    )
    return Judged(verdict, own, remotes)


def opposed(
    attempts: Mapping[str, Attempt], before: Mapping[str, Standing], after: Mapping[str, Standing]
) -> dict[str, Attempt]:
    """With the proofs in force, and withheld where one failed, be it before the check or after it."""
    found = {}
    for code, attempt in attempts.items():
        standing = after.get(code, UNOPPOSED)
        if standing.withheld is None:
            standing = before.get(code, UNOPPOSED)
        found[code] = msgspec.structs.replace(
            attempt, withheld=standing.withheld, hand_off=standing.in_force, rov=standing.rov
        )
    return found
