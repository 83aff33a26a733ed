"""BR 3.2.2.8: CAA for TLS and S/MIME (RFC 8659, RFC 8657, RFC 9495)."""

from __future__ import annotations

import asyncio
from typing import Final

from appliance.checks.climb import STEP, ClimbFailed, climb
from appliance.checks.context import CheckContext
from appliance.checks.found import Found
from appliance.checks.lookup_failure import FailedTwice, examine
from appliance.model.check import CaaCheck
from appliance.model.identifier import Identifier
from appliance.model.observation import CaaFinding, CheckError
from appliance.net.trace import StepFailed, Trace
from appliance.policy.caa import CaaQuestion, evaluate

_Relevant = tuple[tuple[bytes, ...], str | None]
# So that a name whose servers are silent leaves time for the retry and for the proofs.
_SHARE_OF_DEADLINE: Final = 0.3


async def check(identifier: Identifier, parameters: CaaCheck, context: CheckContext, trace: Trace) -> Found:
    """The relevant RRset permits issuance by one of the issuer domains; the finding says why, or why not."""
    if not parameters.allow_lookup_failure:
        rrset, found_at = await climb(identifier.value, context, trace)
    else:
        try:
            rrset, found_at = await _climb_with_retry(identifier.value, context, trace)
        except FailedTwice as failed:
            return await _decide_failure(failed, context, trace)
    question = CaaQuestion(
        parameters.certificate_type,
        identifier.wildcard,
        parameters.issuer_domains,
        parameters.account_uri,
        parameters.validation_method,
        parameters.parameters_to_caller,
    )
    finding = trace.caa = evaluate(rrset, found_at, question)
    trace.seen += finding.rrset
    error = None if finding.permitted else CheckError("caa.forbidden", finding.reason, STEP)
    return Found(finding.permitted, error)


async def _climb_with_retry(name: str, context: CheckContext, trace: Trace) -> _Relevant:
    """As `climb`, with each failed look-up asked once more. Raises `FailedTwice`."""
    retried = None
    anew = False
    while True:
        try:
            return await _climb_in_time(name, context, trace)
        except ClimbFailed as failed:
            if failed.name == retried:
                raise FailedTwice(failed, anew=anew) from failed
            name = retried = failed.name
            anew = await context.forget(name)


async def _climb_in_time(name: str, context: CheckContext, trace: Trace) -> _Relevant:
    limit_s = trace.deadline_s * _SHARE_OF_DEADLINE
    try:
        async with asyncio.timeout(limit_s):
            return await climb(name, context, trace)
    except TimeoutError:
        stuck = trace.lookups[-1].name
        raise ClimbFailed(stuck, StepFailed("dns.timeout", f"{stuck} CAA: no answer", STEP)) from None


async def _decide_failure(failed: FailedTwice, context: CheckContext, trace: Trace) -> Found:
    failure = await examine(failed, context, trace)
    reason = f"the CAA look-up at {failed.name} failed; {failure.reason} (BR 3.2.2.8)"
    trace.caa = CaaFinding(failure.permits, None, (), reason, lookup_failure=failure)
    if not failure.permits:
        raise StepFailed(failed.error.code, f"{failed.error.message}; {failure.reason}", STEP, failed.error.fault)
    return Found(True)
