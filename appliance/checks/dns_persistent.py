"""BR 3.2.2.4.22 and 3.2.2.5.8: a TXT record with a persistent value."""

from __future__ import annotations

from ipaddress import ip_address

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, shown_all
from appliance.checks.records import txt_values
from appliance.model.check import DnsPersistentCheck
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CheckError
from appliance.net.trace import Trace
from appliance.policy.persistent import persistent_problem

_MAX_PROBLEMS = 4


async def check(identifier: Identifier, parameters: DnsPersistentCheck, context: CheckContext, trace: Trace) -> Found:
    """One TXT record at the persistent label shows control by the expected account to one of the CA's issuer names."""
    values = await txt_values(_owner(identifier), context, trace)
    now_s = int(context.now().timestamp())
    problems: list[str] = []
    for value in values:
        problem = persistent_problem(value, parameters.issuer_domain_names, parameters.expected_account_uri, now_s)
        if problem is None:
            trace.seen += shown_all(values, value)
            return Found(True)
        if problem not in problems and len(problems) < _MAX_PROBLEMS:
            problems.append(problem)
    trace.seen += shown_all(values)
    reason = f"no record shows control: {'; '.join(problems)}" if problems else "no record was found"
    return Found(False, CheckError("mismatch", reason, "dns.TXT"))


def _owner(identifier: Identifier) -> str:
    if identifier.type is IdentifierType.IP:
        return f"_ip-validation-persist.{ip_address(identifier.value).reverse_pointer}"
    return f"_validation-persist.{identifier.value}"
