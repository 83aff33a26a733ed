"""BR 3.2.2.4.7: a Random Value or Request Token in a CNAME, TXT or CAA record."""

from __future__ import annotations

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown_all
from appliance.checks.records import rrset, txt_values
from appliance.model.check import DnsChangeCheck, DnsChangeType
from appliance.model.identifier import Identifier
from appliance.net.dns.names import name_to_text
from appliance.net.trace import Trace
from appliance.policy.caa import read_record


async def check(identifier: Identifier, parameters: DnsChangeCheck, context: CheckContext, trace: Trace) -> Found:
    """One record holds the value, whole or as a part as asked: TXT strings, CAA values, or the CNAME's target.

    TXT and CAA values compare byte for byte, names as names do (RFC 4343).
    """
    prefix = parameters.dns_name_prefix
    name = f"{prefix}.{identifier.value}" if prefix else identifier.value
    expected = parameters.challenge_value.encode()
    match parameters.dns_record_type:
        case DnsChangeType.TXT:
            values = await txt_values(name, context, trace, parameters.delegation_target)
        case DnsChangeType.CAA:
            found = await rrset(name, "CAA", context, trace, parameters.delegation_target)
            values = [record.value for record in map(read_record, found) if record.tag is not None]
        case DnsChangeType.CNAME:
            found = await rrset(name, "CNAME", context, trace)
            values = [name_to_text(target).encode().lower() for target in found]
            expected = expected.removesuffix(b".").lower()
    whole = parameters.require_exact_match
    # An empty value is part of every other; the API refuses it, and here it shows nothing.
    matching = (value for value in values if expected == value or (not whole and expected in value))
    telling = next(matching, None) if expected else None
    trace.seen += shown_all(values, telling, expected)
    return compare(telling is not None, f"dns.{parameters.dns_record_type}", "a record with the expected value")
