"""A `Decision` in the form of the Open MPIC API: `DCVResponse` and `CAAResponse`, with our additions beside them.

Where specification 3.5.0 and its reference implementation differ in a type, the value is one that both accept, or the
reference implementation's where none is (`records_seen` of CAA is a list of records).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from appliance import __version__
from appliance.api.openmpic.details import Details, details_of
from appliance.coordinator.decision import Decision, Judged
from appliance.coordinator.gather import corroborates
from appliance.evidence.record import Arrival, Attempt, CallerStatement, PerspectiveSetRef, Receipt
from appliance.linux.clock import ClockState
from appliance.model.check import Method
from appliance.model.decision import Row
from appliance.model.observation import DnssecStatus, Observation, Outcome
from appliance.model.place import Rir

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ValidationError(msgspec.Struct, frozen=True):
    """`error_type` is `validation:<method>` for a mismatch, else whose fault it is and its code."""

    error_type: str
    error_message: str


class CheckResponse(msgspec.Struct, frozen=True):
    """`CheckResponseDCV` and `CheckResponseCAA`. `check_completed`: the target was seen, whatever it said."""

    check_type: str
    check_completed: bool
    check_passed: bool
    errors: tuple[ValidationError, ...]
    timestamp_ns: int
    details: Details


class PerspectiveResponse(msgspec.Struct, frozen=True):
    """`perspective_code` and `check_response` are the specification's, the rest is ours. `elapsed_us`: microseconds.
    `rov`: the verdict on route origin validation that was in force, None where it is not measured."""

    perspective_code: str
    check_response: CheckResponse
    rir: Rir
    arrival: Arrival
    outcome: Outcome
    seen: tuple[str, ...]
    dnssec: DnssecStatus | None
    elapsed_us: int
    egress_addresses: tuple[str, ...]
    rov: str | None = None


class ActualOrchestration(msgspec.Struct, frozen=True):
    """`EffectiveOrchestrationParameters`."""

    perspective_count: int
    quorum_count: int
    attempt_count: int


class BaselineRequirements(msgspec.Struct, frozen=True):
    """The document and section of the validation method that was checked."""

    version: str
    section: str


class Policy(msgspec.Struct, frozen=True):
    """What the quorum was judged by: the row of BR 3.2.2.9's table on `date`."""

    date: str
    row: Row
    required: int
    allowed_non_corroborations: int


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`BaseMPICResponse`, then our additions from `quorum` on. `primary` and `primary_determination`: one is None."""

    is_valid: bool
    mpic_completed: bool
    check_type: str
    domain_or_ip_target: str
    trace_identifier: str
    request_orchestration_parameters: dict[str, Any] | None
    actual_orchestration_parameters: ActualOrchestration
    perspectives: tuple[PerspectiveResponse, ...]
    previous_attempt_results: tuple[tuple[PerspectiveResponse, ...], ...]
    quorum: str
    reasons: tuple[str, ...]
    primary: PerspectiveResponse | None
    primary_determination: CallerStatement | None
    rirs: tuple[Rir, ...]
    policy: Policy
    baseline_requirements: BaselineRequirements
    warnings: tuple[str, ...]
    receipt: Receipt
    perspective_set: PerspectiveSetRef
    clock: ClockState
    appliance_version: str = __version__


class DcvResponse(_Answer, frozen=True, kw_only=True):
    """`DCVResponse`."""

    dcv_check_parameters: dict[str, Any]


class CaaResponse(_Answer, frozen=True, kw_only=True):
    """`CAAResponse`."""

    caa_check_parameters: dict[str, Any] | None


def response_of(decision: Decision, document: dict[str, Any]) -> DcvResponse | CaaResponse:
    """The answer to the request whose members are `document`."""
    verdict, question = decision.last.verdict, decision.question
    check_type = document["check_type"]
    shared: dict[str, Any] = {
        "is_valid": verdict.is_valid,
        "mpic_completed": _completed(decision.last),
        "check_type": check_type,
        "domain_or_ip_target": question.identifier.requested,
        "trace_identifier": question.trace_identifier,
        "request_orchestration_parameters": document.get("orchestration_parameters"),
        "actual_orchestration_parameters": ActualOrchestration(
            verdict.attempted, verdict.required, len(decision.attempts)
        ),
        "perspectives": _perspectives(decision.last),
        "previous_attempt_results": tuple(_perspectives(judged) for judged in decision.attempts[:-1]),
        "quorum": verdict.quorum,
        "reasons": verdict.reasons,
        "primary": _perspective(decision.last.primary) if decision.last.primary is not None else None,
        "primary_determination": question.caller_statement,
        "rirs": verdict.rirs,
        "policy": Policy(verdict.policy_date, verdict.row, verdict.required, verdict.allowed_non_corroborations),
        "baseline_requirements": BaselineRequirements(decision.br_version, decision.br_section),
        "warnings": decision.warnings,
        "receipt": decision.receipt,
        "perspective_set": decision.perspective_set,
        "clock": decision.clock,
    }
    if check_type == "caa":
        return CaaResponse(caa_check_parameters=document.get("caa_check_parameters"), **shared)
    return DcvResponse(dcv_check_parameters=document["dcv_check_parameters"], **shared)


def _perspectives(judged: Judged) -> tuple[PerspectiveResponse, ...]:
    return tuple(_perspective(attempt) for attempt in judged.remotes)


def _perspective(attempt: Attempt) -> PerspectiveResponse:
    seen = attempt.observation
    return PerspectiveResponse(
        perspective_code=attempt.perspective,
        check_response=CheckResponse(
            check_type="caa" if seen.method is Method.CAA else "dcv",
            check_completed=_seen_whole(attempt),
            check_passed=corroborates(attempt),
            errors=tuple(_errors(attempt)),
            timestamp_ns=(datetime.fromisoformat(seen.started_at) - _EPOCH) // _MICROSECOND * 1000,
            details=details_of(seen),
        ),
        rir=attempt.rir,
        arrival=attempt.arrival,
        outcome=seen.outcome,
        seen=seen.seen,
        dnssec=seen.dnssec,
        elapsed_us=seen.elapsed_us,
        egress_addresses=seen.egress_addresses,
        rov=None if attempt.rov is None else attempt.rov.verdict,
    )


def _seen_whole(attempt: Attempt) -> bool:
    return attempt.arrival is Arrival.IN_TIME and attempt.observation.outcome is not Outcome.ERROR


def _completed(judged: Judged) -> bool:
    """Whether enough perspectives saw the target for either verdict; a caller may ask again where not."""
    completed = sum(_seen_whole(attempt) for attempt in judged.remotes)
    return completed >= judged.verdict.required and (judged.primary is None or _seen_whole(judged.primary))


def _errors(attempt: Attempt) -> list[ValidationError]:
    withheld = [] if attempt.withheld is None else [ValidationError("perspective:withheld", attempt.withheld)]
    return [*_errors_seen(attempt.observation), *withheld]


def _errors_seen(seen: Observation) -> list[ValidationError]:
    if seen.outcome is Outcome.MISMATCH:
        kind = f"validation:{seen.method}"
        messages = [error.message for error in seen.errors] or ["What was observed is not what was expected."]
        return [ValidationError(kind, message) for message in messages]
    return [ValidationError(f"{error.fault}:{error.code}", error.message) for error in seen.errors]
