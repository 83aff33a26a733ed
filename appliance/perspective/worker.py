"""Answers the coordinator: each question with exactly one observation, in time, and only while this worker may corroborate."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from appliance.ipc import BadFrame, Connection
from appliance.ipc.messages import Ask, AskRound, Cancel, RefusedRound, Seen, SeenRound, ToWorker
from appliance.model.check import CheckRequest, method_of
from appliance.model.observation import CheckError, Fault, Observation, Outcome
from appliance.model.rov import RoundRequest, RoundSeen
from appliance.perspective.health import broken_meanwhile

# A check ends itself at its deadline; this is for one that does not.
_DEADLINE_GRACE_S = 0.2
_CANCEL_GRACE_S = 0.2
_MOST_ROUNDS = 32
_log = logging.getLogger(__name__)


class Worker:
    """Runs checks by `run`. `gate`: the epoch of the path and why no check may run now (`Health.gate`); it is asked before
    and after each. `capacity`: checks in flight beyond which a question is refused at once. `longest_s` bounds deadlines.
    `probe` runs one round of route origin validation; it ends itself.
    """

    def __init__(
        self,
        code: str,
        run: Callable[[CheckRequest], Awaitable[Observation]],
        gate: Callable[[], tuple[int, CheckError | None]],
        *,
        capacity: int,
        longest_s: float,
        probe: Callable[[RoundRequest], Awaitable[RoundSeen]],
    ) -> None:
        self._code = code
        self._run = run
        self._probe = probe
        self._rounds: set[asyncio.Task[None]] = set()
        self._gate = gate
        self._capacity = capacity
        self._longest_s = longest_s
        self._in_flight: dict[tuple[Connection, str], _Running] = {}
        self._abandoned: set[asyncio.Task[Observation]] = set()

    @property
    def in_flight(self) -> int:
        """Checks that are running, those that did not end when they should have among them."""
        return len(self._in_flight) + len(self._abandoned)

    def told(self, connection: Connection, message: ToWorker) -> None:
        """One message of the coordinator."""
        if isinstance(message, Cancel):
            running = self._in_flight.get((connection, message.request_id))
            if running is not None:
                running.cancel("perspective.cancelled", "cancelled by the coordinator")
        elif isinstance(message, AskRound):
            self._asked_round(connection, message.request)
        else:
            self._asked(connection, message)

    def gone(self, connection: Connection) -> None:
        """Nobody waits for what was asked on this connection."""
        for (asker, _), running in list(self._in_flight.items()):
            if asker is connection:
                running.cancel("perspective.cancelled", "the coordinator went away")

    def broken(self) -> None:
        """The path broke: ends at once, with what was seen so far, what could not corroborate any more."""
        for running in list(self._in_flight.values()):
            running.cancel("perspective.tunnel_down", "the path broke during the check")

    async def drain(self, timeout_s: float) -> None:
        """Waits until what is in flight is answered; what is not after `timeout_s` is cancelled and answered then."""
        tasks = {running.task for running in self._in_flight.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for running in list(self._in_flight.values()):
            running.cancel("perspective.stopping", "the worker stops")
        for task in self._rounds:
            task.cancel()
        if self._in_flight:
            await asyncio.wait({running.task for running in self._in_flight.values()}, timeout=_CANCEL_GRACE_S)
        await asyncio.sleep(0)

    def _asked_round(self, connection: Connection, request: RoundRequest) -> None:
        if request.perspective != self._code:
            connection.fail(f"asked for perspective {request.perspective}, this is {self._code}")
            return
        epoch, refusal = self._gate()
        reason = refusal.message if refusal is not None else ""
        if len(self._rounds) >= _MOST_ROUNDS:
            reason = f"{_MOST_ROUNDS} rounds in flight"
        if reason:
            connection.send(RefusedRound(request.request_id, self._code, reason))
            return
        task = asyncio.get_running_loop().create_task(self._run_round(connection, request, epoch))
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)

    async def _run_round(self, connection: Connection, request: RoundRequest, epoch: int) -> None:
        try:
            seen = await self._probe(request)
        except Exception as error:
            _log.exception("a round of probes failed unexpectedly")
            connection.send(RefusedRound(request.request_id, self._code, f"unexpected {type(error).__name__}"))
            return
        epoch_after, refusal = self._gate()
        if refusal is not None or epoch_after != epoch:
            # A path that broke looks like filtering: what was seen meanwhile is worth nothing.
            connection.send(RefusedRound(request.request_id, self._code, "the path broke during the round"))
        else:
            connection.send(SeenRound(seen))

    def _asked(self, connection: Connection, ask: Ask) -> None:
        request = ask.request
        key = (connection, request.request_id)
        if request.perspective != self._code:
            connection.fail(f"asked for perspective {request.perspective}, this is {self._code}")
            return
        if key in self._in_flight:
            connection.fail(f"asked twice with request_id {request.request_id}")
            return
        epoch, refusal = self._gate()
        if refusal is None and self.in_flight >= self._capacity:
            refusal = CheckError(
                "perspective.overloaded", f"{self._capacity} checks in flight", "start", Fault.PERSPECTIVE
            )
        if refusal is not None:
            self._answer(connection, failed(request, refusal))
            return
        task = asyncio.get_running_loop().create_task(self._observe(request, epoch))
        deadline_s = min(request.deadline_ms / 1000, self._longest_s)
        running = _Running(task, deadline_s, lambda observation: self._ended(key, request, observation))
        self._in_flight[key] = running

    async def _observe(self, request: CheckRequest, epoch: int) -> Observation:
        observation = await self._run(request)
        epoch_after, refusal = self._gate()
        if refusal is None and epoch_after != epoch:
            refusal = broken_meanwhile()
        return observation if refusal is None else disowned(observation, refusal)

    def _ended(self, key: tuple[Connection, str], request: CheckRequest, result: Observation | CheckError) -> None:
        running = self._in_flight.pop(key)
        if not running.task.done():
            self._abandoned.add(running.task)
            running.task.add_done_callback(self._abandoned.discard)
        self._answer(key[0], result if isinstance(result, Observation) else failed(request, result))

    def _answer(self, connection: Connection, observation: Observation) -> None:
        try:
            connection.send(Seen(observation))
        except BadFrame as error:
            problem = CheckError("perspective.observation_too_large", str(error), "end", Fault.APPLIANCE)
            bare = msgspec.structs.replace(observation, lookups=(), hops=(), seen=(), caa=None)
            connection.send(Seen(disowned(bare, problem)))


class _Running:
    """One check under way, with the timers that end it. `ended` is called once, with what came of it."""

    def __init__(
        self,
        task: asyncio.Task[Observation],
        deadline_s: float,
        ended: Callable[[Observation | CheckError], None],
    ) -> None:
        self.task = task
        self._ended = ended
        self._over = False
        self._reason = CheckError("check.deadline", "the deadline ran out", "end", Fault.APPLIANCE)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(deadline_s + _DEADLINE_GRACE_S, self._end_by_force)
        task.add_done_callback(self._done)

    def cancel(self, code: str, message: str) -> None:
        """Ends the check with what it saw so far; again, or by force after a moment, where it does not end."""
        self._reason = CheckError(code, message, "end", Fault.PERSPECTIVE)
        self._end_by_force()

    def _end_by_force(self) -> None:
        self._timer.cancel()
        self.task.cancel()
        self._timer = self._loop.call_later(_CANCEL_GRACE_S, self._finish, self._reason)

    def _done(self, task: asyncio.Task[Observation]) -> None:
        if task.cancelled():
            self._finish(self._reason)
        elif (error := task.exception()) is not None:
            _log.error("a check failed unexpectedly", exc_info=error)
            text = f"unexpected {type(error).__name__}"
            self._finish(CheckError("check.unexpected", text, "end", Fault.APPLIANCE))
        else:
            self._finish(task.result())

    def _finish(self, result: Observation | CheckError) -> None:
        self._timer.cancel()
        if not self._over:
            self._over = True
            self._ended(result)


def failed(request: CheckRequest, error: CheckError) -> Observation:
    """The observation of a check that did not run, or of which nothing is known."""
    return Observation(
        request_id=request.request_id,
        perspective=request.perspective,
        method=method_of(request.check),
        outcome=Outcome.ERROR,
        corroborates=False,
        started_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        elapsed_us=0,
        errors=(error,),
    )


def disowned(observation: Observation, error: CheckError) -> Observation:
    """What was seen, as evidence, but not as a corroboration."""
    return msgspec.structs.replace(
        observation, outcome=Outcome.ERROR, corroborates=False, errors=(*observation.errors, error)
    )
