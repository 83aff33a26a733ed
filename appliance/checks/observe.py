"""From a trace to the observation, whose size is bounded whatever the Internet sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from appliance.checks.context import CheckContext
from appliance.checks.found import MAX_SEEN, Found
from appliance.model.check import CheckRequest, method_of
from appliance.model.observation import CheckError, Lookup, Observation, Outcome, Record
from appliance.net.trace import Trace
from appliance.policy.br_table import BR_VERSION
from appliance.policy.methods import section_of

# What look-ups may take of an observation; with its other bounded parts it stays below 256 KiB of JSON.
LOOKUPS_BUDGET_CHARS: Final = 64 * 1024
_RECORD_OVERHEAD_CHARS: Final = 64
# Of names, records and errors: a name has at most 1016 characters, what else there is in one of them fewer.
_FEW: Final = 24
_MATCHED: Final = {True: Outcome.MATCH, False: Outcome.MISMATCH}


def observation(
    request: CheckRequest, context: CheckContext, started_at: datetime, trace: Trace, result: Found | CheckError
) -> Observation:
    """Only a method's own positive finding is a MATCH; an error, whosever, is never one."""
    trace.enter("end")
    method = method_of(request.check)
    error: CheckError | None
    if isinstance(result, CheckError):
        outcome, error = Outcome.ERROR, result
    else:
        outcome, error = _MATCHED[result.matched], result.error
    return Observation(
        request_id=request.request_id,
        perspective=context.perspective,
        method=method,
        outcome=outcome,
        corroborates=outcome is Outcome.MATCH,
        started_at=started_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        elapsed_us=trace.elapsed_us,
        errors=() if error is None else (error,),
        seen=tuple(trace.seen[:MAX_SEEN]),
        lookups=_bounded(trace.lookups),
        hops=tuple([hop.frozen() for hop in trace.hops]),
        caa=trace.caa,
        steps=tuple(trace.steps),
        egress_addresses=context.egress_addresses(),
        br_section=section_of(method, request.identifier.type) or "",
        br_version=BR_VERSION,
        dnssec=trace.dnssec,
        connections=tuple(trace.connections),
        certificate=trace.certificate,
    )


def _bounded(lookups: list[Lookup]) -> tuple[Lookup, ...]:
    if sum([1 + len(lookup.records) + len(lookup.chain) + len(lookup.ede) for lookup in lookups]) <= _FEW:
        return tuple(lookups)
    left = LOOKUPS_BUDGET_CHARS - sum(_fixed_size(lookup) for lookup in lookups)
    kept = []
    for lookup in lookups:
        size = _size(lookup.records) + _size(lookup.chain)
        if size > left:
            lookup = msgspec.structs.replace(lookup, records=(), chain=(), clipped=True)  # noqa: PLW2901
            size = 0
        left -= size
        kept.append(lookup)
    return tuple(kept)


def _fixed_size(lookup: Lookup) -> int:
    return len(lookup.name) + sum(len(text) for _, text in lookup.ede)


def _size(records: tuple[Record, ...]) -> int:
    return sum([_RECORD_OVERHEAD_CHARS + len(record.name) + len(record.data) for record in records])
