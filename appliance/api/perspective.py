"""One perspective as a service: the check and the observation that the coordinator itself uses. See
`packaging/docs/perspective-protocol.md`."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from appliance.api.clock import clock_routes
from appliance.api.errors import HttpError, Issue, Malformed
from appliance.api.http import Handler, HttpRequest, HttpResponse, Routes, json_response
from appliance.api.json import parse_object
from appliance.api.metrics import METRICS_TYPE, Metrics
from appliance.coordinator.coordinator import Evidence
from appliance.coordinator.gather import Answer
from appliance.coordinator.identifiers import to_validate
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.records import refused_for_clock
from appliance.coordinator.timekeeping import Timekeeping
from appliance.errors import BadRequest, ChannelClosed
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventRecord, EventType, utc_text
from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.observation import CheckError, Fault, Observation, Outcome
from appliance.model.status import Readiness
from appliance.net.validatable import NONE, Exceptions
from appliance.policy.parameters import check_problems

# The worker keeps the deadline itself; this is for one that does not.
_GRACE_S = 0.5
_RETRY = ((b"retry-after", b"1"),)


class PerspectiveApi:
    """Serves the perspectives `codes`. `check_s`: the longest deadline; `most`: checks at once; `metrics` counts them.

    `objection`: why what a perspective observes may count for nobody now, None where it may: another's quorum knows of its
    proofs only what is said here. `asking` counts the checks under way of each.
    """

    def __init__(
        self,
        perspectives: Perspectives,
        codes: Iterable[str],
        evidence: Evidence,
        time: Timekeeping,
        *,
        check_s: float,
        most: int,
        metrics: Metrics,
        objection: Callable[[str], str | None],
        asking: Counter[str],
        exceptions: Exceptions = NONE,
    ) -> None:
        self._metrics = metrics
        self._perspectives = perspectives
        self._codes = tuple(codes)
        self._evidence = evidence
        self._time = time
        self._check_s = check_s
        self._most = most
        self._objection = objection
        self._asking = asking
        self._exceptions = exceptions
        self._in_flight = 0

    def routes(self) -> Routes:
        """`GET /perspectives/CODE` and `POST /perspectives/CODE/check`."""
        routes: dict[str, dict[str, Handler]] = {}
        for code in self._codes:
            routes[f"/perspectives/{code}"] = {"GET": partial(self._status, code)}
            routes[f"/perspectives/{code}/check"] = {"POST": partial(self._check, code)}
        return routes

    def health(self) -> Routes:
        """`/healthz`, and `/readyz`: whether every perspective can be asked; for a process that serves nothing else."""
        return {"/healthz": {"GET": self._healthz}, "/readyz": {"GET": self._readyz}}

    def operators(self) -> Routes:
        """`/metrics`, and the operator's word on the clock, for such a process."""
        return {"/metrics": {"GET": self._metrics_page}, **clock_routes(self._time)}

    def readiness(self) -> Readiness:
        """Whether every perspective can be asked."""
        self._perspectives.refresh()
        clock = self._time.refusal()
        down = {code: self._perspectives.down(code) or self._objection(code) for code in self._codes}
        reasons = (
            *(() if clock is None else (clock,)),
            *(f"{code}: {reason}" for code, reason in down.items() if reason is not None),
        )
        return Readiness(not reasons, reasons, self._time.warnings())

    async def _healthz(self, _request: HttpRequest) -> HttpResponse:
        return json_response({"status": "ok"})

    async def _readyz(self, _request: HttpRequest) -> HttpResponse:
        readiness = self.readiness()
        return json_response(readiness, 200 if readiness.ready else 503)

    async def _metrics_page(self, _request: HttpRequest) -> HttpResponse:
        self._perspectives.refresh()
        ready = [({"perspective": code}, int(self._refusal(code) is None)) for code in self._codes]
        self._metrics.in_flight = self._in_flight
        body = self._metrics.text((), ready, quorum_possible=None)
        return HttpResponse(200, body, (METRICS_TYPE,))

    async def _status(self, code: str, _request: HttpRequest) -> HttpResponse:
        self._perspectives.refresh()
        reason = self._refusal(code)
        status = self._perspectives.worker(code) or WorkerStatus(code, False, (), (), None, None, 0)
        if reason is not None and status.ready:
            status = msgspec.structs.replace(status, ready=False, reasons=(reason,))
        # What is this appliance's own to know is left out.
        return json_response(msgspec.structs.replace(status, netns_inode=0, egress=None))

    async def _check(self, code: str, http: HttpRequest) -> HttpResponse:
        asked = self._parsed(code, http.body)
        await self._refuse_by_clock(asked, http)
        if self._in_flight >= self._most:
            raise HttpError(503, f"{self._most} checks are under way; ask again.", headers=_RETRY)
        self._in_flight += 1
        self._asking[code] += 1
        try:
            seen = await self._observed(code, asked)
        finally:
            self._in_flight -= 1
            self._asking[code] -= 1
        # Two callers may choose the same request_id; on the way to the worker it was ours.
        seen = msgspec.structs.replace(seen, request_id=asked.request_id, warnings=self._time.warnings())
        await self._evidence.submit(self._event(code, asked, seen, http))
        self._metrics.checks[code, seen.outcome.value] += 1
        return json_response(seen)

    async def _refuse_by_clock(self, asked: CheckRequest, http: HttpRequest) -> None:
        """Raise `HttpError` 503, on record, while this clock cannot be trusted: a check by a wrong date proves nothing."""
        reason = self._time.refusal()
        if reason is None:
            return
        event = refused_for_clock(
            reason,
            http.caller.name,
            actor_of(http.caller.uid),
            trace_id=asked.request_id,
            identifier=asked.identifier.value,
            time=utc_text(self._time.clock.now()),
        )
        await self._evidence.submit(event)
        raise HttpError(503, f"{asked.perspective}: {reason}", headers=_RETRY, reason="clock")

    async def _observed(self, code: str, asked: CheckRequest) -> Observation:
        self._perspectives.refresh()
        reason = self._refusal(code)
        if reason is not None:
            raise HttpError(503, f"{code}: {reason}", headers=_RETRY)
        deadline_ms = min(asked.deadline_ms, round(self._check_s * 1000))
        request = msgspec.structs.replace(asked, request_id=f"peer-{uuid.uuid4().hex}", deadline_ms=deadline_ms)
        try:
            answer: Answer = self._perspectives.ask(request)
            async with asyncio.timeout(deadline_ms / 1000 + _GRACE_S):
                return self._unopposed(code, await answer)
        except ChannelClosed as error:
            raise HttpError(503, str(error), headers=_RETRY) from error
        except TimeoutError as error:
            raise HttpError(504, f"{code}: no answer within the deadline") from error

    def _refusal(self, code: str) -> str | None:
        """Why it answers nobody now. Call `Perspectives.refresh` first."""
        return self._time.refusal() or self._perspectives.down(code) or self._objection(code)

    def _unopposed(self, code: str, seen: Observation) -> Observation:
        """What was seen; no corroboration where a proof failed meanwhile."""
        reason = self._objection(code)
        if reason is None:
            return seen
        error = CheckError("perspective.withheld", reason[:500], "end", Fault.PERSPECTIVE)
        return msgspec.structs.replace(seen, outcome=Outcome.ERROR, corroborates=False, errors=(*seen.errors, error))

    def _parsed(self, code: str, body: bytes) -> CheckRequest:
        parse_object(body)
        try:
            asked = msgspec.json.decode(body, type=CheckRequest)
        except msgspec.ValidationError as error:
            raise Malformed([Issue.of((), str(error))]) from error
        if asked.perspective != code:
            raise Malformed([Issue.of(("perspective",), f"this is the perspective {code}")])
        if not 1 <= len(asked.request_id) <= 128 or not asked.request_id.isprintable():
            raise Malformed([Issue.of(("request_id",), "1 to 128 printable characters are asked for")])
        if asked.deadline_ms < 1:
            raise Malformed([Issue.of(("deadline_ms",), "must be 1 or more")])
        try:
            identifier = to_validate(asked.identifier.requested, self._exceptions)
        except BadRequest as error:
            raise Malformed([Issue.of(("identifier", "requested"), error.rule)]) from error
        if identifier != asked.identifier:
            raise Malformed(
                [Issue.of(("identifier",), f"the canonical form of what is requested is {identifier.value}")]
            )
        problems = check_problems(asked.check, identifier, self._time.today())
        if problems:
            raise Malformed([Issue.of(("check", parameter), rule) for parameter, rule in problems])
        return asked

    def _event(self, code: str, asked: CheckRequest, seen: Observation, http: HttpRequest) -> EventRecord:
        return EventRecord(
            time=utc_text(self._time.clock.now()),
            type=EventType.PERSPECTIVE_CHECK,
            actor=actor_of(http.caller.uid),
            subject=code,
            facts=(("caller", http.caller.name), ("body", http.body.decode())),
            trace_id=asked.request_id,
            identifier=asked.identifier.value,
            observation=seen,
        )
