"""The operators' socket on route origin validation: `GET /rov`, `POST /rov/measure` for one round, and its metrics."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api.errors import Issue, Malformed
from appliance.api.http import Handler, HttpRequest, HttpResponse, json_response
from appliance.api.json import parse_object
from appliance.api.metrics import Sample, family
from appliance.coordinator.rov.measurement import Measurement
from appliance.coordinator.rov.report import RovView
from appliance.model.rov import RovReport, RovVerdict


class Rov:
    """The handlers over one measurement."""

    def __init__(self, measurement: Measurement, view: RovView) -> None:
        self._measurement = measurement
        self._view = view

    def routes(self) -> dict[str, dict[str, Handler]]:
        """What the operators' socket serves besides."""
        return {"/rov": {"GET": self._report}, "/rov/measure": {"POST": self._measure}}

    async def metrics(self) -> bytes:
        """More of the page of `GET /metrics`."""
        return ("\n".join(_lines(await self._view.report())) + "\n").encode()

    async def _report(self, _request: HttpRequest) -> HttpResponse:
        return json_response(await self._view.report())

    async def _measure(self, request: HttpRequest) -> HttpResponse:
        """`{"perspective": CODE}`: one round of that perspective against every beacon; then as `GET /rov`."""
        asked = parse_object(request.body)
        code = asked.get("perspective")
        if not isinstance(code, str) or set(asked) != {"perspective"} or code not in self._measurement.sites:
            known = ", ".join(self._measurement.sites)
            raise Malformed([Issue.of(("perspective",), f"one of {known} is asked for, and nothing else")])
        await self._measurement.measure(code)
        return await self._report(request)


def _lines(report: RovReport) -> Iterator[str]:
    verdicts = [
        (
            {"perspective": one.perspective, "family": f"ipv{standing.version}", "verdict": verdict.value},
            int(standing.in_force.verdict is verdict),
        )
        for one in report.perspectives
        for standing in one.families
        for verdict in RovVerdict
    ]
    counted = [
        ({"perspective": one.perspective, "family": f"ipv{standing.version}"}, standing.grade.n)
        for one in report.perspectives
        for standing in one.families
    ]
    dead = [
        ({"beacon": one.name, "family": f"ipv{version}"}, int(version in one.dead))
        for one in report.beacons
        for version in one.versions
    ]
    age: list[Sample] = [] if report.vrps.age_s is None else [({}, report.vrps.age_s)]
    yield from family("mpic_rov_verdict", "gauge", "1 for the verdict in force.", verdicts)
    yield from family("mpic_rov_rounds", "gauge", "Counted rounds of the pair with the fewest.", counted)
    yield from family("mpic_rov_beacon_dead", "gauge", "Whether no perspective reaches a beacon.", dead)
    yield from family("mpic_rov_vrp_age_seconds", "gauge", "Age of the VRP export.", age)
    yield from family("mpic_rov_vrps", "gauge", "Validated ROA payloads in use.", [({}, report.vrps.count)])
