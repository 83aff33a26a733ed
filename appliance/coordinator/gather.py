"""Waiting for what every perspective saw, up to the limits, and an `Attempt` for each of them, whatever happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from appliance.errors import ChannelClosed
from appliance.evidence.record import Arrival, Attempt, utc_text
from appliance.ipc.channel import WrongReply
from appliance.model.check import Method
from appliance.model.observation import CheckError, Fault, Observation, Outcome
from appliance.model.place import Site

Answer = asyncio.Future[Observation]

_STEP = "ask"
# How much longer than those who made the verdict known a late one may take: where they were slow, all is.
_STRAGGLER_FACTOR = 2
_TOO_LATE = CheckError("coordinator.late", "no answer within the time limit", _STEP, Fault.PERSPECTIVE)


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds. `whole_s`: until every perspective is cut off. `straggler_s`: for late ones once the verdict is known, more
    where it took long to be known, as all is slow then.
    `grace_s`: for what a perspective that was cut off saw so far."""

    whole_s: float
    straggler_s: float
    grace_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """What every perspective was asked together, and when (`started`; `started_s` is the loop's clock)."""

    request_id: str
    method: Method
    started: datetime
    started_s: float


def corroborates(attempt: Attempt) -> bool:
    """Whether this perspective counts for the applicant: only what arrived in time can, and from a proven place."""
    return attempt.arrival is Arrival.IN_TIME and attempt.withheld is None and attempt.observation.corroborates


async def wait_for(answers: Mapping[str, Answer], known: Callable[[], bool], waits: Waits) -> None:
    """Returns when all answers are there, or the limits are reached. `known`: whether the outstanding ones cannot matter."""
    outstanding = sum(not answer.done() for answer in answers.values())
    if not outstanding:
        return
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    over = loop.create_future()
    timers = [loop.call_later(waits.whole_s, _finish, over)]

    def arrived(_answer: Answer) -> None:
        nonlocal outstanding
        outstanding -= 1
        if outstanding == 0:
            _finish(over)
        elif len(timers) == 1 and known():
            late_s = max(waits.straggler_s, _STRAGGLER_FACTOR * (loop.time() - began_s))
            timers.append(loop.call_later(late_s, _finish, over))

    waited_for = [answer for answer in answers.values() if not answer.done()]
    for answer in waited_for:
        answer.add_done_callback(arrived)
    try:
        await over
    finally:
        for timer in timers:
            timer.cancel()
        for answer in waited_for:
            answer.remove_done_callback(arrived)


async def cut_off(answers: Mapping[str, Answer], cancel: Callable[[str], None], grace_s: float) -> frozenset[str]:
    """Tells the perspectives that have not answered that nobody waits, and gives them `grace_s` to say what they saw.

    Returns the codes of those that had not answered before.
    """
    late = {code: answer for code, answer in answers.items() if not answer.done()}
    for code in late:
        cancel(code)
    if late:
        await asyncio.wait(late.values(), timeout=grace_s)
    return frozenset(late)


def attempt_of(site: Site, answer: Answer, asked: Round, *, late: bool) -> Attempt:
    """What `answer` amounts to. `late`: it was cut off; a match that was already under way then still counts."""
    if not answer.done():
        return _failed(site, asked, Arrival.LATE, _TOO_LATE)
    failure = answer.exception()
    if failure is None:
        observation = answer.result()
        arrival = Arrival.LATE if late and not observation.corroborates else Arrival.IN_TIME
        return Attempt(site.code, site.rir, arrival, observation)
    if isinstance(failure, WrongReply):
        error = CheckError("coordinator.wrong-reply", str(failure)[:500], _STEP, Fault.APPLIANCE)
        return _failed(site, asked, Arrival.FAULTY, error)
    if isinstance(failure, ChannelClosed):
        error = CheckError("perspective.lost", str(failure)[:500], _STEP, Fault.PERSPECTIVE)
        return _failed(site, asked, Arrival.UNREACHABLE, error)
    error = CheckError("coordinator.fault", f"{type(failure).__name__}: {failure}"[:500], _STEP, Fault.APPLIANCE)
    return _failed(site, asked, Arrival.FAULTY, error)


def unreachable(site: Site, asked: Round, reason: str) -> Attempt:
    """The part of a perspective that is known to be down: nothing was sent."""
    error = CheckError("perspective.down", reason[:500], _STEP, Fault.PERSPECTIVE)
    return _failed(site, asked, Arrival.UNREACHABLE, error)


def _failed(site: Site, asked: Round, arrival: Arrival, error: CheckError) -> Attempt:
    """The coordinator's own observation, where the perspective gave none."""
    observation = Observation(
        request_id=asked.request_id,
        perspective=site.code,
        method=asked.method,
        outcome=Outcome.ERROR,
        corroborates=False,
        started_at=utc_text(asked.started),
        elapsed_us=round((asyncio.get_running_loop().time() - asked.started_s) * 1_000_000),
        errors=(error,),
    )
    rejected = error.message if arrival is Arrival.FAULTY else None
    return Attempt(site.code, site.rir, arrival, observation, rejected)


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
