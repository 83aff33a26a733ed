"""What one request leads to, before anything is asked: which remotes, what quorum, how many attempts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from appliance.coordinator.question import Orchestration, Question
from appliance.coordinator.selection import choose
from appliance.errors import BadRequest
from appliance.model.place import Site
from appliance.policy.br_table import BR_SECTION, row_at
from appliance.policy.fleet import Fleet
from appliance.policy.quorum import floor_of

_FIELD = "orchestration_parameters"


@dataclass(frozen=True, slots=True)
class Plan:
    """The remotes to ask, the same in every attempt; the count that must corroborate, at least the table's; attempts."""

    remotes: tuple[Site, ...]
    quorum_count: int
    max_attempts: int


def plan(question: Question, fleet: Fleet, day: date, secret: bytes) -> Plan:
    """The plan for `question` on `day`. Raises `BadRequest` where it asks for less than the table or more than there is."""
    asked = question.orchestration
    remotes = choose(fleet.remotes, _count(asked, fleet, day), question.identifier, secret)
    return Plan(remotes, _quorum(asked, len(remotes), day), asked.max_attempts or 1)


def _count(asked: Orchestration, fleet: Fleet, day: date) -> int:
    configured = len(fleet.remotes)
    if asked.perspective_count is None:
        return configured
    row = row_at(day)
    if asked.perspective_count < row.remotes_required:
        rule = f"at least {row.remotes_required} remote perspectives since {row.since} (BR {BR_SECTION})"
        raise BadRequest(f"{_FIELD}.perspective_count", rule)
    if asked.perspective_count > configured:
        raise BadRequest(f"{_FIELD}.perspective_count", f"{configured} remote perspectives are configured")
    return asked.perspective_count


def _quorum(asked: Orchestration, attempted: int, day: date) -> int:
    floor = floor_of(row_at(day), attempted)
    if asked.quorum_count is None:
        return floor
    if asked.quorum_count < floor:
        rule = f"at least {floor} of {attempted} remote perspectives must corroborate (BR {BR_SECTION})"
        raise BadRequest(f"{_FIELD}.quorum_count", rule)
    if asked.quorum_count > attempted:
        raise BadRequest(f"{_FIELD}.quorum_count", f"only {attempted} remote perspectives are asked")
    return asked.quorum_count
