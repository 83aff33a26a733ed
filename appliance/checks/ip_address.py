"""BR 3.2.2.4.8: the name has the expected address."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare
from appliance.checks.records import rrset
from appliance.model.check import AddressType, IpAddressCheck
from appliance.model.identifier import Identifier
from appliance.net.trace import Trace

_FAMILIES = {AddressType.A: socket.AF_INET, AddressType.AAAA: socket.AF_INET6}


async def check(identifier: Identifier, parameters: IpAddressCheck, context: CheckContext, trace: Trace) -> Found:
    """One A or AAAA record of the name is the address, compared as addresses."""
    family = _FAMILIES[parameters.dns_record_type]
    found = await rrset(identifier.value, parameters.dns_record_type.value, context, trace)
    trace.seen += [socket.inet_ntop(family, rdata) for rdata in found]
    step = f"dns.{parameters.dns_record_type}"
    return compare(ip_address(parameters.challenge_value).packed in found, step, "the expected address")
