"""What each socket serves: the CA's socket decides and tells its health, the operators' one also shows the appliance."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec

from appliance.api.clock import clock_routes
from appliance.api.description import description_routes
from appliance.api.draft.request import parse_draft
from appliance.api.draft.response import draft_answer
from appliance.api.errors import HttpError, Issue, Malformed, Refused
from appliance.api.http import Handler, HttpRequest, HttpResponse, Routes, json_response
from appliance.api.json import parse_object
from appliance.api.metrics import METRICS_TYPE, Metrics, proof_metrics
from appliance.api.openmpic.request import Terms, parse_request
from appliance.api.openmpic.response import response_of
from appliance.api.rov import Rov
from appliance.config import Settings
from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.decision import Decision
from appliance.coordinator.drains import DrainRefused, Drains
from appliance.coordinator.question import Orchestration, Question
from appliance.coordinator.status import Counts, StatusView
from appliance.coordinator.store import Prunes
from appliance.coordinator.timekeeping import ClockNotTrusted
from appliance.errors import UNDECODABLE, BadRequest
from appliance.evidence.actor import actor_of
from appliance.evidence.record import Actor
from appliance.evidence.retention import segment_object
from appliance.model.check import method_of
from appliance.model.keys import Step
from appliance.net.validatable import Exceptions

_RETRY_AFTER_S = b"1"


class _Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    perspective: Annotated[str, msgspec.Meta(max_length=64)]


class _RotationStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    perspective: Annotated[str, msgspec.Meta(max_length=64)]
    step: Step
    slot: Annotated[str, msgspec.Meta(max_length=16)]
    public_key: Annotated[str, msgspec.Meta(max_length=64)]


_rotation_step = msgspec.json.Decoder(_RotationStep)
_subject = msgspec.json.Decoder(_Subject)


class Api:
    """The handlers of both sockets over one coordinator."""

    def __init__(
        self,
        settings: Settings,
        coordinator: Coordinator,
        view: StatusView,
        store: Prunes,
        drains: Drains,
        rov: Rov | None = None,
    ) -> None:
        self._settings = settings
        self._rov = rov
        self._coordinator = coordinator
        self._drains = drains
        self._view = view
        self._caa = settings.caa
        self._exceptions = Exceptions.of(settings.targets)
        self._store = store
        self._caller_is_primary = settings.primary.kind == "caller"
        self._most_in_flight = settings.api.concurrent_requests
        self.metrics = Metrics()

    def callers(self) -> Routes:
        """The CA's socket."""
        mpic: dict[str, Handler] = {"POST": self._mpic}
        return {
            "/mpic": mpic,
            "/v1/mpic": mpic,
            "/mpic/draft-00": {"POST": self._draft},
            **description_routes(),
            "/healthz": {"GET": self._healthz, "HEAD": self._healthz},
            "/readyz": {"GET": self._readyz, "HEAD": self._readyz},
        }

    def operators(self) -> Routes:
        """The operators' socket."""
        return {
            **self.callers(),
            "/status": {"GET": self._status},
            "/perspectives": {"GET": self._perspectives},
            "/metrics": {"GET": self._metrics},
            "/configz": {"GET": self._configz},
            "/evidence/prune": {"POST": self._prune},
            "/drain": {"POST": self._drain},
            "/undrain": {"POST": self._undrain},
            "/key-rotation": {"POST": self._key_rotation},
            **clock_routes(self._coordinator.time),
            **({} if self._rov is None else self._rov.routes()),
        }

    async def _mpic(self, request: HttpRequest) -> HttpResponse:
        return await self._counted(self._decide, request)

    async def _draft(self, request: HttpRequest) -> HttpResponse:
        return await self._counted(self._decide_draft, request)

    async def _counted(self, decide: Handler, request: HttpRequest) -> HttpResponse:
        """Admission: what cannot be decided in time together with what is under way is refused at once."""
        if self.metrics.in_flight >= self._most_in_flight:
            rule = f"{self._most_in_flight} requests are being decided; ask again."
            raise HttpError(503, rule, headers=((b"retry-after", _RETRY_AFTER_S),), reason="overload")
        self.metrics.in_flight += 1
        try:
            return await decide(request)
        finally:
            self.metrics.in_flight -= 1

    async def _decide(self, request: HttpRequest) -> HttpResponse:
        asked = parse_request(
            request.body,
            caller=request.caller.name,
            terms=Terms(
                self._caa.issuer_domains,
                self._caller_is_primary,
                self._coordinator.today(),
                self._caa.parameters_to_caller,
                self._exceptions,
            ),
        )
        decision = await self._decision(asked.question)
        return json_response(response_of(decision, asked.document))

    async def _decide_draft(self, request: HttpRequest) -> HttpResponse:
        if self._caller_is_primary:
            raise HttpError(501, "The draft has no way to state the primary's determination (primary.kind = caller).")
        asked = parse_draft(request.body, self._caa.issuer_domains, self._coordinator.today(), self._exceptions)
        trace_identifier = str(uuid.uuid4())
        checks = [asked.main] if asked.caa is None else [asked.main, asked.caa]
        questions = [
            Question(
                identifier=asked.identifier,
                check=check,
                orchestration=Orchestration(),
                trace_identifier=trace_identifier,
                caller_statement=None,
                caller=request.caller.name,
                body=request.body.decode(),
            )
            for check in checks
        ]
        return json_response(draft_answer(await asyncio.gather(*map(self._decision, questions))))

    async def _decision(self, question: Question) -> Decision:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            decision = await self._coordinator.decide(question)
        except BadRequest as error:
            raise Malformed([Issue.of(error.field.split("."), error.rule)]) from error
        except ClockNotTrusted as error:
            raise HttpError(503, str(error), headers=((b"retry-after", _RETRY_AFTER_S),), reason="clock") from error
        self.metrics.duration.observe(loop.time() - started_s)
        self.metrics.decisions[method_of(question.check), decision.last.verdict.is_valid] += 1
        return decision

    async def _healthz(self, _request: HttpRequest) -> HttpResponse:
        return json_response({"status": "ok"})

    async def _readyz(self, _request: HttpRequest) -> HttpResponse:
        readiness = self._view.readiness()
        return json_response(readiness, 200 if readiness.ready else 503)

    async def _status(self, _request: HttpRequest) -> HttpResponse:
        return json_response(self._view.status(Counts(self.metrics.in_flight, self.metrics.decisions.total())))

    async def _perspectives(self, _request: HttpRequest) -> HttpResponse:
        return json_response(self._view.perspective_set())

    async def _configz(self, _request: HttpRequest) -> HttpResponse:
        """The configuration in force. It has names of files with secrets, never a secret itself."""
        return json_response(self._settings.model_dump(mode="json"))

    async def _prune(self, request: HttpRequest) -> HttpResponse:
        document = parse_object(request.body)
        try:
            before = datetime.fromisoformat(document["before"])
            if before.tzinfo is None:
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed([Issue.of(("before",), "an RFC 3339 time with its offset is required")]) from error
        try:
            segment = await self._store.prune(before, self._coordinator.clock.now(), actor_of(request.caller.uid))
        except BadRequest as error:
            raise Malformed([Issue.of((error.field,), error.rule)]) from error
        return json_response(segment_object(segment))

    async def _drain(self, request: HttpRequest) -> HttpResponse:
        return await self._act(request, self._drains.drain)

    async def _undrain(self, request: HttpRequest) -> HttpResponse:
        return await self._act(request, self._drains.undrain)

    async def _key_rotation(self, request: HttpRequest) -> HttpResponse:
        try:
            told = _rotation_step.decode(request.body)
        except UNDECODABLE as error:
            raise Malformed([Issue.of((), str(error))]) from error
        facts = {"step": told.step, "slot": told.slot, "public_key": told.public_key}
        try:
            await self._drains.note_keys(told.perspective, facts, actor_of(request.caller.uid))
        except DrainRefused as refused:
            raise Refused("The operator's act is refused.", refused.objections) from refused
        return json_response({"recorded": True})

    async def _act(self, request: HttpRequest, act: Callable[[str, Actor], Awaitable[bool]]) -> HttpResponse:
        """An act on one perspective by the user at the other end of the socket."""
        try:
            subject = _subject.decode(request.body)
        except UNDECODABLE as error:
            raise Malformed([Issue.of(("perspective",), str(error))]) from error
        try:
            changed = await act(subject.perspective, actor_of(request.caller.uid))
        except DrainRefused as refused:
            raise Refused("The operator's act is refused.", refused.objections) from refused
        drained = self._drains.of(subject.perspective)
        return json_response({"perspective": subject.perspective, "changed": changed, "drained": drained})

    async def _metrics(self, _request: HttpRequest) -> HttpResponse:
        status = self._view.status(Counts(self.metrics.in_flight, self.metrics.decisions.total()))
        observed = self._coordinator.perspectives.observed
        observations = [({"perspective": code, "outcome": outcome}, n) for (code, outcome), n in observed.items()]
        ready = [({"perspective": one.code}, int(one.ready)) for one in (status.primary, *status.perspectives)]
        body = self.metrics.text(observations, ready, quorum_possible=status.readiness.ready)
        body += proof_metrics(self._view.proofs())
        if self._rov is not None:
            body += await self._rov.metrics()
        return HttpResponse(200, body, (METRICS_TYPE,))
