"""BR 3.2.2.4.14: the selected contact is a TXT record at `_validation-contactemail` (BR appendix A.2.1)."""

from __future__ import annotations

from appliance.checks.contact import compare_contacts, same_email
from appliance.checks.context import CheckContext
from appliance.checks.found import Found
from appliance.checks.records import txt_values
from appliance.model.check import ContactEmailTxtCheck
from appliance.model.identifier import Identifier
from appliance.net.trace import Trace


async def check(identifier: Identifier, parameters: ContactEmailTxtCheck, context: CheckContext, trace: Trace) -> Found:
    """The whole value of one TXT record is the selected contact."""
    values = await txt_values(f"_validation-contactemail.{identifier.value}", context, trace)
    return compare_contacts(values, parameters.challenge_value, same_email, trace, "dns.TXT")
