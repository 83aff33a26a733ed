"""BR 3.2.2.4.7 by ACME dns-01 (RFC 8555 section 8.4)."""

from __future__ import annotations

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown_all
from appliance.checks.records import txt_values
from appliance.model.check import AcmeDns01Check
from appliance.model.identifier import Identifier
from appliance.net.trace import Trace


async def check(identifier: Identifier, parameters: AcmeDns01Check, context: CheckContext, trace: Trace) -> Found:
    """One TXT record at `_acme-challenge.` + name is, byte for byte, the digest of the key authorization."""
    values = await txt_values(f"_acme-challenge.{identifier.value}", context, trace, parameters.delegation_target)
    expected = parameters.key_authorization_hash.encode()
    trace.seen += shown_all(values, expected if expected in values else None)
    return compare(expected in values, "dns.TXT", "a TXT record with the expected digest")
