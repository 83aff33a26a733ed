"""What each socket serves: the CA's socket decides and tells its health, the operators' one also shows the appliance."""

from __future__ import annotations

import asyncio

from appliance.api.errors import HttpError, Issue, Malformed
from appliance.api.http import Handler, HttpRequest, HttpResponse, Routes, json_response
from appliance.api.metrics import Metrics
from appliance.api.openmpic.request import Terms, parse_request
from appliance.api.openmpic.response import response_of
from appliance.config import Settings
from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.status import Counts, StatusView
from appliance.errors import BadRequest, EvidenceUnavailable
from appliance.model.check import method_of

_RETRY_AFTER_S = b"1"
_METRICS_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Api:
    """The handlers of both sockets over one coordinator."""

    def __init__(self, settings: Settings, coordinator: Coordinator, view: StatusView) -> None:
        self._coordinator = coordinator
        self._view = view
        self._caa = settings.caa
        self._caller_is_primary = settings.primary.kind == "caller"
        self._most_in_flight = settings.api.concurrent_requests
        self.metrics = Metrics()

    def callers(self) -> Routes:
        """The CA's socket."""
        mpic: dict[str, Handler] = {"POST": self._mpic}
        return {
            "/mpic": mpic,
            "/v1/mpic": mpic,
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
        }

    async def _mpic(self, request: HttpRequest) -> HttpResponse:
        if self.metrics.in_flight >= self._most_in_flight:
            self.metrics.refusals["overload"] += 1
            rule = f"{self._most_in_flight} requests are being decided; ask again."
            raise HttpError(503, rule, headers=((b"retry-after", _RETRY_AFTER_S),))
        self.metrics.in_flight += 1
        try:
            return await self._decide(request)
        except HttpError as error:
            self.metrics.refusals[f"http-{error.status}"] += 1
            raise
        except EvidenceUnavailable:
            self.metrics.refusals["evidence"] += 1
            raise
        finally:
            self.metrics.in_flight -= 1

    async def _decide(self, request: HttpRequest) -> HttpResponse:
        asked = parse_request(
            request.body,
            caller=f"unix uid {request.uid}",
            terms=Terms(
                self._caa.issuer_domains,
                self._caller_is_primary,
                self._coordinator.today(),
                self._caa.parameters_to_caller,
            ),
        )
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            decision = await self._coordinator.decide(asked.question)
        except BadRequest as error:
            raise Malformed([Issue.of(error.field.split("."), error.rule)]) from error
        self.metrics.duration.observe(loop.time() - started_s)
        self.metrics.decisions[method_of(asked.question.check), decision.last.verdict.is_valid] += 1
        return json_response(response_of(decision, asked.document))

    async def _healthz(self, _request: HttpRequest) -> HttpResponse:
        return json_response({"status": "ok"})

    async def _readyz(self, _request: HttpRequest) -> HttpResponse:
        readiness = self._view.readiness()
        return json_response(readiness, 200 if readiness.ready else 503)

    async def _status(self, _request: HttpRequest) -> HttpResponse:
        return json_response(self._view.status(Counts(self.metrics.in_flight, self.metrics.decisions.total())))

    async def _perspectives(self, _request: HttpRequest) -> HttpResponse:
        return json_response(self._view.perspective_set())

    async def _metrics(self, _request: HttpRequest) -> HttpResponse:
        status = self._view.status(Counts(self.metrics.in_flight, self.metrics.decisions.total()))
        observed = self._coordinator.perspectives.observed
        observations = [({"perspective": code, "outcome": outcome}, n) for (code, outcome), n in observed.items()]
        ready = [({"perspective": one.code}, int(one.ready)) for one in (status.primary, *status.perspectives)]
        body = self.metrics.text(observations, ready, quorum_possible=status.readiness.ready)
        return HttpResponse(200, body, (_METRICS_TYPE,))
