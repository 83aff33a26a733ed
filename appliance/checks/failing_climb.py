"""The climb of RFC 8659 section 3 past labels whose look-ups fail, for as long as each failure may be permission."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.checks.climb import STEP, ask_label
from appliance.checks.context import CheckContext
from appliance.checks.lookup_failure import Examiner
from appliance.checks.zone_servers import tasks_of
from appliance.model.observation import CheckError, LookupFailure
from appliance.net.dns.resolver import Reply
from appliance.net.trace import StepFailed, Trace
from appliance.policy.lookup_failure import Permits, cause_of

# Seconds, or this share of the check's time where that is less, after which the servers are asked directly beside the
# resolver, which is waited for all the same: what it finds meanwhile decides. The second is for the labels above one that
# failed, which are in the same zone or nearer to the root.
_PATIENCE_S: Final = 0.8
_PATIENCE_ABOVE_S: Final = 0.3
_SHARE_OF_DEADLINE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Climbed:
    """The RRset nearest to the name and where it is, as `climb` has it. `failures`: of the labels below it, nearest first;
    the last of them need not permit, and then nothing else counts. `error`: what the resolver said of that one."""

    rrset: tuple[bytes, ...]
    found_at: str | None
    failures: tuple[LookupFailure, ...] = ()
    error: CheckError | None = None


@dataclass(frozen=True, slots=True)
class _Failed:
    failure: LookupFailure
    error: CheckError | None


_Outcome = Reply | _Failed


async def climb_over_failures(name: str, context: CheckContext, trace: Trace) -> Climbed:
    """As `climb`, but a look-up that fails is looked into, together with all above it."""
    trace.enter(STEP)
    labels = name.split(".")
    names = [".".join(labels[depth:]) for depth in range(len(labels))]
    patience_s = min(_PATIENCE_S, trace.deadline_s * _SHARE_OF_DEADLINE)
    for depth, asked in enumerate(names):
        async with tasks_of([ask_label(asked, context, trace)]) as (looking,):
            await asyncio.wait((looking,), timeout=patience_s)
            reply = _answer(looking)
            if reply is None:
                return await _with_those_above(looking, names[depth:], context, trace)
            if reply.rrset:
                return Climbed(reply.rrset, asked)
    return Climbed((), None)


async def _with_those_above(
    looking: asyncio.Task[Reply], names: Sequence[str], context: CheckContext, trace: Trace
) -> Climbed:
    """From the label whose look-up failed, or takes long, to the top-level domain: all at once, the nearest first."""
    trace.enter("caa.lookup-failure")
    examiner = Examiner(context, trace)
    patience_s = min(_PATIENCE_ABOVE_S, trace.deadline_s * _SHARE_OF_DEADLINE)
    failures: list[LookupFailure] = []
    try:
        first = _Label(names[0], context, trace, examiner)
        above = [_Label(one, context, trace, examiner) for one in names[1:]]
        async with tasks_of([first.outcome(looking, 0.0), *(one.begin(patience_s) for one in above)]) as outcomes:
            for asked, task in zip(names, outcomes, strict=True):
                outcome: _Outcome = await task
                if isinstance(outcome, _Failed):
                    failures.append(outcome.failure)
                    if not outcome.failure.permits:
                        return Climbed((), None, tuple(failures), outcome.error)
                elif outcome.rrset:
                    return Climbed(outcome.rrset, asked, tuple(failures))
    finally:
        await examiner.close()
    return Climbed((), None, tuple(failures))


class _Label:
    """One label of the climb, asked of the resolver and, where that fails or takes long, of its own servers."""

    def __init__(self, name: str, context: CheckContext, trace: Trace, examiner: Examiner) -> None:
        self._name = name
        self._context = context
        self._trace = trace
        self._examiner = examiner

    async def begin(self, patience_s: float) -> _Outcome:
        """Ask, and wait for what comes of it."""
        async with tasks_of([ask_label(self._name, self._context, self._trace)]) as (looking,):
            return await self.outcome(looking, patience_s)

    async def outcome(self, looking: asyncio.Task[Reply], patience_s: float) -> _Outcome:
        """What comes of `looking`, the question to the resolver; an answer of the resolver's goes before all else."""
        await asyncio.wait((looking,), timeout=patience_s)
        reply = _answer(looking)
        if reply is not None:
            return reply
        error = _error(looking)
        again = [] if error is None or not _may_be_shown(error) else [self._again()]
        async with tasks_of([self._examiner.examine(self._name, error), *again]) as (examining, *retrying):
            return await self._either(examining, retrying[0] if retrying else looking, error)

    async def _either(
        self, examining: asyncio.Task[LookupFailure], looking: asyncio.Task[Reply], error: CheckError | None
    ) -> _Outcome:
        waiting: set[asyncio.Task[LookupFailure] | asyncio.Task[Reply]] = {examining, looking}
        while waiting and (left_s := self._examiner.wait_s) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            reply = _answer(looking) if looking in done else None
            if reply is not None:
                return reply
            later = _error(looking)
            if later is not None and not _may_be_shown(later):
                # Bogus, or an answer that we do not take: more is known now than when the servers were first asked.
                return _Failed(await self._examiner.examine(self._name, later), later)
        if examining.done():
            return _Failed(examining.result(), error)
        return _Failed(self._examiner.late(self._name), error)

    async def _again(self) -> Reply:
        await self._context.forget(self._name)
        return await ask_label(self._name, self._context, self._trace)


def _answer(looking: asyncio.Task[Reply]) -> Reply | None:
    return looking.result() if looking.done() and looking.exception() is None else None


def _error(looking: asyncio.Task[Reply]) -> CheckError | None:
    """That of a question which failed. Raises what is a bug."""
    if not looking.done() or (raised := looking.exception()) is None:
        return None
    if isinstance(raised, StepFailed):
        return raised.error
    raise raised


def _may_be_shown(error: CheckError) -> bool:
    return cause_of(error.code).permits is Permits.IF_SHOWN
