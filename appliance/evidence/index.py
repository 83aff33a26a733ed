"""The columns by which records are found: pure functions of a record, so that they can be proved against its bytes."""

from __future__ import annotations

from typing import TypedDict

from appliance.evidence.record import Attempt, DecisionRecord, EventRecord, EventType, EvidenceRecord

_ABOUT_A_PERSPECTIVE = frozenset(
    {EventType.PROOF, EventType.PROOF_FAILURE, EventType.VERDICT_CHANGE, EventType.LATE_OBSERVATION}
)


class Columns(TypedDict):
    """Beside `seq`, `hash` and `record` in each row. `kind`: `decision` or the type of the event.

    `reversed_name`: labels from the top down, each followed by a dot, so that a domain and its subdomains are one range.
    `perspectives`: ` code=outcome ` of each attempt, the primary's first; for an event about a perspective ` code= `; a
    space stands on either side of each.
    """

    time: str
    kind: str
    trace_id: str | None
    identifier: str | None
    reversed_name: str | None
    method: str | None
    is_valid: bool | None
    quorum: str | None
    perspectives: str | None


def reversed_name(name: str) -> str:
    """`www.example.com` as `com.example.www.`."""
    return "".join(f"{label}." for label in reversed(name.split(".")))


def subtree(name: str) -> tuple[str, str]:
    """The half-open range of `reversed_name` that holds `name` and everything under it."""
    first = reversed_name(name)
    return first, first[:-1] + "/"  # the character after the dot


def columns_of(record: EvidenceRecord) -> Columns:
    """What is indexed of `record`."""
    return _of_decision(record) if isinstance(record, DecisionRecord) else _of_event(record)


def _of_decision(record: DecisionRecord) -> Columns:
    return Columns(
        time=record.time,
        kind="decision",
        trace_id=record.request.trace_id,
        identifier=record.identifier.value,
        reversed_name=_reversed(record.identifier.value),
        method=record.method.value,
        is_valid=record.verdict.is_valid,
        quorum=record.verdict.quorum,
        perspectives=_perspectives(([record.primary] if record.primary else []) + list(record.remotes)),
    )


def _of_event(record: EventRecord) -> Columns:
    return Columns(
        time=record.time,
        kind=record.type.value,
        trace_id=record.trace_id,
        identifier=record.identifier,
        reversed_name=None if record.identifier is None else _reversed(record.identifier),
        method=None,
        is_valid=None,
        quorum=None,
        perspectives=f" {record.subject}= " if record.type in _ABOUT_A_PERSPECTIVE else None,
    )


def _reversed(identifier: str) -> str | None:
    """None for an IP address; no top-level domain is a number (RFC 3696 section 2)."""
    is_address = ":" in identifier or identifier.rpartition(".")[2].isdecimal()
    return None if is_address else reversed_name(identifier)


def _perspectives(attempts: list[Attempt]) -> str:
    return "".join(f" {attempt.perspective}={attempt.observation.outcome.value}" for attempt in attempts) + " "
