"""What the coordinator writes as evidence (BR 5.4.1), as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from appliance.coordinator.decision import Judged
from appliance.coordinator.question import Question
from appliance.errors import BadRequest
from appliance.evidence.perspectives import perspective_set_of
from appliance.evidence.record import (
    Actor,
    DecisionRecord,
    EventRecord,
    EventType,
    PerspectiveSetRef,
    ReceivedRequest,
    Software,
)
from appliance.linux.clock import ClockState
from appliance.model.check import method_of
from appliance.model.observation import Observation
from appliance.policy.br_table import BR_VERSION
from appliance.policy.fleet import Fleet
from appliance.policy.methods import section_of


@dataclass(frozen=True, slots=True)
class InForce:
    """What every record names: who writes it, with which software and configuration, and the perspective set."""

    actor: Actor
    software: Software
    perspective_set: PerspectiveSetRef


def br_section(question: Question) -> str:
    """The section of the validation method, or 3.2.2.8 for CAA."""
    return section_of(method_of(question.check), question.identifier.type) or ""


def decision_record(
    question: Question,
    judged: Judged,
    in_force: InForce,
    *,
    received_at: str,
    time: str,
    clock: ClockState,
    warnings: tuple[str, ...] = (),
) -> DecisionRecord:
    """The record of one attempt. Times are RFC 3339 UTC. `warnings`: those of the answer."""
    return DecisionRecord(
        time=time,
        request=ReceivedRequest(
            received_at=received_at,
            trace_id=question.trace_identifier,
            caller=question.caller,
            body=question.body,
            quorum_count=question.orchestration.quorum_count,
        ),
        identifier=question.identifier,
        method=method_of(question.check),
        check=question.check,
        br_section=br_section(question),
        br_version=BR_VERSION,
        verdict=judged.verdict,
        primary=judged.primary,
        caller_statement=question.caller_statement,
        remotes=judged.remotes,
        perspective_set=in_force.perspective_set,
        software=in_force.software,
        clock=clock,
        warnings=warnings,
    )


def refused_request(question: Question, refusal: BadRequest, actor: Actor, *, time: str) -> EventRecord:
    """A request that asks for less than the rules, or for more than there is."""
    return EventRecord(
        time=time,
        type=EventType.REFUSED_REQUEST,
        actor=actor,
        subject=refusal.field,
        message=refusal.rule,
        facts=(("caller", question.caller),),
        trace_id=question.trace_identifier,
        identifier=question.identifier.value,
    )


def refused_for_clock(
    reason: str, caller: str, actor: Actor, *, trace_id: str, identifier: str, time: str
) -> EventRecord:
    """A request that was refused because the clock may be wrong; `time` is that clock's. `reason` says what is wrong with it."""
    return EventRecord(
        time=time,
        type=EventType.REFUSED_REQUEST,
        actor=actor,
        subject="clock",
        message=reason,
        facts=(("caller", caller),),
        trace_id=trace_id,
        identifier=identifier,
    )


def clock_accepted_event(actor: Actor, before: date, built: date, clock: ClockState, *, time: str) -> EventRecord:
    """An operator said that the clock is right, and records from later than now are wrong: the policy date goes on from `time`.

    `before`: the policy date until then. `built`: no policy date is before it."""
    return EventRecord(
        time=time,
        type=EventType.CLOCK_ACCEPTED,
        actor=actor,
        subject="clock",
        message=f"the policy date is {time[:10]}, no longer {before}",
        facts=(
            ("accepted", time[:10]),
            ("before", before.isoformat()),
            ("built", built.isoformat()),
            ("synchronised", "yes" if clock.synchronised else "no"),
        ),
    )


def late_observation(question: Question, observation: Observation, actor: Actor, *, time: str) -> EventRecord:
    """What a perspective said after the decision was formed without it."""
    return EventRecord(
        time=time,
        type=EventType.LATE_OBSERVATION,
        actor=actor,
        subject=observation.perspective,
        trace_id=question.trace_identifier,
        identifier=question.identifier.value,
        observation=observation,
    )


def perspective_set_event(fleet: Fleet, actor: Actor, *, time: str) -> EventRecord:
    """The set that the decisions after this are counted with."""
    return EventRecord(
        time=time,
        type=EventType.PERSPECTIVE_SET,
        actor=actor,
        subject="mpicd",
        perspective_set=perspective_set_of(fleet),
    )


def drain_event(kind: EventType, code: str, actor: Actor, drained: Iterable[str], *, time: str) -> EventRecord:
    """An operator took `code` out of service (DRAIN) or into it again (RESUME); `drained`: all that are out after it."""
    return EventRecord(time=time, type=kind, actor=actor, subject=code, facts=(("drained", " ".join(sorted(drained))),))


def key_rotation_event(actor: Actor, code: str, facts: Iterable[tuple[str, str]], *, time: str) -> EventRecord:
    """An operator took a step of a key rotation, as `mpicctl` tells it: the tunnel daemon keeps no records."""
    return EventRecord(time=time, type=EventType.KEY_ROTATION, actor=actor, subject=code, facts=tuple(facts))


def life_event(
    kind: EventType, actor: Actor, software: Software, facts: Iterable[tuple[str, str]], *, time: str
) -> EventRecord:
    """A start or stop of the coordinator, with the configuration it runs with."""
    named = (("version", software.version), ("configuration_sha256", software.configuration_sha256), *facts)
    return EventRecord(time=time, type=kind, actor=actor, subject="mpicd", facts=named)
