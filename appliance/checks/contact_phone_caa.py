"""BR 3.2.2.4.17: the selected contact is in a CAA `contactphone` property (BR appendix A.1.2)."""

from __future__ import annotations

from appliance.checks.climb import STEP
from appliance.checks.contact import caa_property_values, compare_contacts, same_phone
from appliance.checks.context import CheckContext
from appliance.checks.found import Found
from appliance.model.check import ContactPhoneCaaCheck
from appliance.model.identifier import Identifier
from appliance.net.trace import Trace


async def check(identifier: Identifier, parameters: ContactPhoneCaaCheck, context: CheckContext, trace: Trace) -> Found:
    """The relevant CAA RRset, found as RFC 8659 section 3 says, has the selected contact."""
    values = await caa_property_values(identifier.value, "contactphone", context, trace)
    return compare_contacts(values, parameters.challenge_value, same_phone, trace, STEP)
