"""BR 3.2.2.5.3: the address points to the expected name."""

from __future__ import annotations

from ipaddress import ip_address

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown_all
from appliance.checks.records import rrset
from appliance.model.check import ReverseAddressLookupCheck
from appliance.model.identifier import Identifier
from appliance.net.dns.names import name_to_text
from appliance.net.trace import Trace


async def check(
    identifier: Identifier, parameters: ReverseAddressLookupCheck, context: CheckContext, trace: Trace
) -> Found:
    """One PTR record of the address, which the question is made of here, is the name (compared as RFC 4343 says)."""
    found = await rrset(ip_address(identifier.value).reverse_pointer, "PTR", context, trace)
    names = [name_to_text(rdata) for rdata in found]
    expected = parameters.challenge_value.removesuffix(".").lower()
    telling = next((name.encode() for name in names if name.lower() == expected), None)
    trace.seen += shown_all([name.encode() for name in names], telling)
    return compare(telling is not None, "dns.PTR", "a PTR record with the expected name")
