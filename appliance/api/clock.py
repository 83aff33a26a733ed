"""`POST /clock/accept-date`: an operator says that the clock is right after it was wrong."""

from __future__ import annotations

from appliance.api.errors import Refused
from appliance.api.http import HttpRequest, HttpResponse, Routes, json_response
from appliance.coordinator.timekeeping import DateRefused, Timekeeping
from appliance.evidence.actor import actor_of


def clock_routes(time: Timekeeping) -> Routes:
    """The route, for the operators' socket alone. The body counts for nothing: the date is always the clock's."""

    async def accept(request: HttpRequest) -> HttpResponse:
        try:
            done = await time.accept_date(actor_of(request.caller.uid))
        except DateRefused as refused:
            raise Refused("The operator's act is refused.", [str(refused)], field="clock") from refused
        return json_response(
            {
                "before": done.before.isoformat(),
                "date": done.date.isoformat(),
                "changed": done.receipt is not None,
                "receipt": done.receipt,
            }
        )

    return {"/clock/accept-date": {"POST": accept}}
