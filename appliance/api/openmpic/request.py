"""The body of `POST /mpic`, as bytes, to a `Question`; every way in which it may be wrong is a `Malformed`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_core import ErrorDetails

from appliance.api.errors import Issue, Malformed
from appliance.api.json import parse_object
from appliance.api.openmpic.parameters import CaaParameters, DcvCheckParameters, Parameters
from appliance.coordinator.identifiers import to_validate
from appliance.coordinator.question import Orchestration, Question
from appliance.errors import BadRequest
from appliance.evidence.record import CallerStatement
from appliance.net.validatable import NONE, Exceptions
from appliance.policy.parameters import check_problems

MAX_ATTEMPTS = 5

Count = Annotated[int, Field(ge=0, le=1000)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]


class OrchestrationParameters(Parameters):
    """`RequestOrchestrationParameters`. The lower bounds are today's table's, which is applied later."""

    perspective_count: Count | None = None
    quorum_count: Count | None = None
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] | None = None
    cohort_for_single_attempt: Any = None

    @field_validator("cohort_for_single_attempt", mode="before")
    @classmethod
    def _no_cohorts(cls, value: object) -> None:
        if value is not None:
            raise ValueError("cohorts are not offered: the set of perspectives is the same for every attempt")


class PrimaryDetermination(Parameters):
    """Ours: the caller's own result, where its systems are the primary network perspective."""

    check_passed: bool
    detail: Annotated[Text, Field(max_length=2000)] = ""


class _MpicRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    domain_or_ip_target: str
    orchestration_parameters: OrchestrationParameters | None = None
    trace_identifier: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    primary_determination: PrimaryDetermination | None = None


class DcvRequest(_MpicRequest):
    """`DCVParams`."""

    check_type: Literal["dcv"]
    dcv_check_parameters: DcvCheckParameters


class CaaRequest(_MpicRequest):
    """`CAAParams`."""

    check_type: Literal["caa"]
    caa_check_parameters: CaaParameters | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What requests are read by: the configuration, and the date that the BRs' dated rules are read with."""

    issuer_domains: tuple[str, ...]
    caller_is_primary: bool
    day: date
    parameters_to_caller: bool = False
    exceptions: Exceptions = NONE


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed request: the question, and the request's own members, which the answer echoes."""

    question: Question
    document: dict[str, Any]


def parse_request(body: bytes, *, caller: str, terms: Terms) -> Asked:
    """The question in `body`. Raises `Malformed` with one issue for each thing that is wrong, naming its field."""
    document = parse_object(body)
    request = _validated(document)
    if isinstance(request, DcvRequest):
        check = request.dcv_check_parameters.check()
    else:
        check = (request.caa_check_parameters or CaaParameters()).check(
            terms.issuer_domains, parameters_to_caller=terms.parameters_to_caller
        )
    try:
        identifier = to_validate(request.domain_or_ip_target, terms.exceptions)
    except BadRequest as error:
        raise Malformed([Issue.of((error.field,), error.rule)]) from error
    problems = check_problems(check, identifier, terms.day)
    if problems:
        raise Malformed([Issue.of(_location(parameter), rule) for parameter, rule in problems])
    asked = request.orchestration_parameters or OrchestrationParameters()
    question = Question(
        identifier=identifier,
        check=check,
        orchestration=Orchestration(asked.perspective_count, asked.quorum_count, asked.max_attempts),
        trace_identifier=request.trace_identifier or str(uuid.uuid4()),
        caller_statement=_statement(request.primary_determination, terms.caller_is_primary),
        caller=caller,
        body=body.decode(),
    )
    return Asked(question=question, document=document)


def _validated(document: dict[str, Any]) -> DcvRequest | CaaRequest:
    match document.get("check_type"):
        case "dcv":
            form: type[DcvRequest | CaaRequest] = DcvRequest
        case "caa":
            form = CaaRequest
        case None:
            raise Malformed([Issue.of(("check_type",), "Field required", "missing")])
        case _:
            raise Malformed([Issue.of(("check_type",), "Input should be 'dcv' or 'caa'", "literal_error")])
    try:
        return form.model_validate(document)
    except ValidationError as error:
        raise Malformed([_issue(detail) for detail in error.errors(include_url=False, include_input=False)]) from error


def _location(parameter: str) -> tuple[str, ...]:
    return (parameter,) if parameter == "domain_or_ip_target" else ("dcv_check_parameters", parameter)


def _issue(detail: ErrorDetails) -> Issue:
    location = detail["loc"]
    # Behind a discriminator pydantic names the chosen branch, which is no member of the request.
    if len(location) > 1 and location[0] == "dcv_check_parameters":
        location = (location[0], *location[2:])
    elif detail["type"].startswith("union_tag"):
        location = (*location, "validation_method")
    return Issue.of(location, detail["msg"], detail["type"])


def _statement(given: PrimaryDetermination | None, caller_is_primary: bool) -> CallerStatement | None:
    if caller_is_primary and given is None:
        rule = "Field required: the caller's systems are the primary network perspective (primary.kind = caller)"
        raise Malformed([Issue.of(("primary_determination",), rule, "missing")])
    if given is not None and not caller_is_primary:
        rule = "not permitted: the primary network perspective is the appliance's own (primary.kind = local)"
        raise Malformed([Issue.of(("primary_determination",), rule, "extra_forbidden")])
    return None if given is None else CallerStatement(passed=given.check_passed, detail=given.detail)
