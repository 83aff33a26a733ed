"""BR 3.2.2.8: CAA for TLS and S/MIME (RFC 8659, RFC 8657, RFC 9495)."""

from __future__ import annotations

import msgspec

from appliance.checks.climb import STEP, climb
from appliance.checks.context import CheckContext
from appliance.checks.failing_climb import Climbed, climb_over_failures
from appliance.checks.found import Found
from appliance.model.check import CaaCheck
from appliance.model.identifier import Identifier
from appliance.model.observation import CaaFinding, CheckError, LookupFailure
from appliance.net.trace import StepFailed, Trace
from appliance.policy.caa import CaaQuestion, evaluate
from appliance.policy.lookup_failure import cause_of


async def check(identifier: Identifier, parameters: CaaCheck, context: CheckContext, trace: Trace) -> Found:
    """The relevant RRset permits issuance by one of the issuer domains; the finding says why, or why not.

    Where a look-up failed and that may be permission, the labels above the name that failed count all the same: what the
    nearest of them says holds, since a name without records of its own would be held to it too. The BRs do not ask for
    that; but else whoever can break a child zone would lift what its parent forbids.
    """
    if parameters.allow_lookup_failure:
        climbed = await climb_over_failures(identifier.value, context, trace)
    else:
        climbed = Climbed(*await climb(identifier.value, context, trace))
    refused = next((one for one in climbed.failures if not one.permits), None)
    if refused is not None:
        raise _refuse(refused, climbed, trace)
    question = CaaQuestion(
        parameters.certificate_type,
        identifier.wildcard,
        parameters.issuer_domains,
        parameters.account_uri,
        parameters.validation_method,
        parameters.parameters_to_caller,
    )
    finding = trace.caa = _with(evaluate(climbed.rrset, climbed.found_at, question), climbed.failures)
    trace.seen += finding.rrset
    error = None if finding.permitted else CheckError("caa.forbidden", finding.reason, STEP)
    return Found(finding.permitted, error)


def _with(finding: CaaFinding, failures: tuple[LookupFailure, ...]) -> CaaFinding:
    """The finding with what failed on the way to it, if anything did."""
    if not failures:
        return finding
    told = "; ".join(f"the CAA look-up at {one.name} failed; {one.reason}" for one in failures)
    reason = f"{told} (BR 3.2.2.8); above that: {finding.reason}"
    return msgspec.structs.replace(finding, reason=reason, lookup_failure=failures[0], further_failures=failures[1:])


def _refuse(refused: LookupFailure, climbed: Climbed, trace: Trace) -> StepFailed:
    """The failure as the check's own error. `climbed.error`: what the resolver said, where that is never permission."""
    others = tuple([one for one in climbed.failures if one is not refused])
    reason = f"the CAA look-up at {refused.name} failed; {refused.reason} (BR 3.2.2.8)"
    trace.caa = CaaFinding(False, None, (), reason, lookup_failure=refused, further_failures=others)
    error = climbed.error
    if error is not None and error.code == refused.cause:
        return StepFailed(error.code, f"{error.message}; {refused.reason}", STEP, error.fault)
    return StepFailed(refused.cause, reason, STEP, cause_of(refused.cause).fault)
