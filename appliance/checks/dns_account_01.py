"""BR 3.2.2.4.21: ACME dns-account-01 (draft-ietf-acme-dns-account-label)."""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown_all
from appliance.checks.records import txt_values
from appliance.model.check import DnsAccount01Check
from appliance.model.identifier import Identifier
from appliance.net.trace import Trace


def account_label(account_url: str) -> str:
    """`_` and the lower-case base32 of the first 10 bytes of the SHA-256 digest of the account's URL."""
    return "_" + b32encode(sha256(account_url.encode()).digest()[:10]).decode("ascii").lower()


async def check(identifier: Identifier, parameters: DnsAccount01Check, context: CheckContext, trace: Trace) -> Found:
    """One TXT record at the account's label under `_acme-challenge.` + name is, byte for byte, the digest."""
    name = f"{account_label(parameters.acme_account_url)}._acme-challenge.{identifier.value}"
    values = await txt_values(name, context, trace, parameters.delegation_target)
    expected = parameters.key_authorization_hash.encode()
    trace.seen += shown_all(values, expected if expected in values else None)
    return compare(expected in values, "dns.TXT", "a TXT record with the expected digest")
