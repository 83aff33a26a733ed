"""A decision computed again from its own observations, apart from the code that made it: pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import msgspec

from appliance.evidence.record import Arrival, Attempt, DecisionRecord, EventRecord
from appliance.model.decision import Verdict
from appliance.model.observation import CaaFinding, Outcome
from appliance.policy.br_table import BR_VERSION
from appliance.policy.fleet import Fleet
from appliance.policy.lookup_failure import Permits, cause_of, judge
from appliance.policy.quorum import judge as judge_quorum


def disagreements(record: DecisionRecord, fleet: Fleet) -> Iterator[str]:
    """Each way in which the recorded verdict is not what its observations give; nothing where it is.

    `fleet`: the perspective set in force. The wording of reasons is compared only within one version of the BRs.
    """
    attempts = ([record.primary] if record.primary else []) + list(record.remotes)
    for attempt in attempts:
        yield from _contradictions(attempt)
    if record.verdict.policy_date < record.request.received_at[:10]:
        yield f"the policy's date {record.verdict.policy_date} is before the request's"
    if (record.primary is None) == (record.caller_statement is None):
        yield "there must be either the primary's observation or the caller's statement"
        return
    try:
        verdict = _again(record, fleet)
    except (KeyError, ValueError) as error:
        yield f"not of the perspective set that it names: {error}"
        return
    same_rules = record.br_version == BR_VERSION
    for name in Verdict.__struct_fields__:
        recorded, computed = getattr(record.verdict, name), getattr(verdict, name)
        if recorded != computed and (same_rules or name not in {"reasons", "row"}):
            yield f"{name} is recorded as {_text(recorded)}, computed as {_text(computed)}"


def accepted_date_problems(record: EventRecord) -> Iterator[str]:
    """Yield each way in which a `clock-accepted` event sets a policy date that it may not: only the clock's own date, while the
    clock was synchronised, and never one before the software was made."""
    facts = dict(record.facts)
    accepted, before, built = (facts.get(name, "") for name in ("accepted", "before", "built"))
    if accepted != record.time[:10]:
        yield f"the accepted date {accepted} is not that of the record"
    if facts.get("synchronised") != "yes":
        yield "a date was accepted although the clock was not synchronised"
    if not built or accepted < built:
        yield f"the accepted date {accepted} is before the software was made ({built})"
    if before <= accepted:
        yield f"the accepted date {accepted} is not before the policy date of then ({before})"


def counts(attempt: Attempt) -> bool:
    """Whether this attempt corroborates, by its observation alone."""
    return (
        attempt.arrival is Arrival.IN_TIME and attempt.withheld is None and attempt.observation.outcome is Outcome.MATCH
    )


def _again(record: DecisionRecord, fleet: Fleet) -> Verdict:
    statement = record.caller_statement
    return judge_quorum(
        fleet,
        date.fromisoformat(record.verdict.policy_date),
        primary_passed=counts(record.primary) if record.primary else statement is not None and statement.passed,
        remotes={attempt.perspective: counts(attempt) for attempt in record.remotes},
        quorum_count=record.request.quorum_count,
    )


def _contradictions(attempt: Attempt) -> Iterator[str]:
    observation = attempt.observation
    if observation.perspective != attempt.perspective:
        yield f"{attempt.perspective}: the observation is that of {observation.perspective}"
    if observation.corroborates != (observation.outcome is Outcome.MATCH):
        yield f"{attempt.perspective}: corroborates is {observation.corroborates} with outcome {observation.outcome.value}"
    if observation.outcome is Outcome.MATCH and observation.caa is not None:
        yield from _failures_that_do_not_permit(attempt.perspective, observation.caa)


def _failures_that_do_not_permit(perspective: str, finding: CaaFinding) -> Iterator[str]:
    """Of look-ups that failed, and were permission all the same; by what their servers said, where that is recorded."""
    for failure in finding.failures:
        addresses = {one.address for one in failure.servers}
        shown = not failure.cause or cause_of(judge(failure.servers, addresses, 0)).permits is Permits.YES
        if not failure.permits or not shown:
            yield f"{perspective}: the look-up at {failure.name} failed in a way that does not permit"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
