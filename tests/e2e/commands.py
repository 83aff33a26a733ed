"""What is typed after `mpicctl check METHOD` for each outcome of each method, about targets of the conformance table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.model.check import Method
from tests.conformance.table import ACCOUNT, VALUE
from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN

_KEY: Final = f"--key-authorization {KEY_AUTHORIZATION}"
_HTTP_01: Final = f"--token {TOKEN} {_KEY}"
_PAGE: Final = f"--http-token-path file.txt --challenge-value {VALUE}"
_ACCOUNT: Final = f"--acme-account-url {ACCOUNT} {_KEY}"
_PERSISTENT: Final = f"--issuer ca.example --account-uri {ACCOUNT}"
_CONTACT: Final = "contact.check.test --challenge-value"
_BOGUS: Final = "www.bogus.example"


@dataclass(frozen=True, slots=True)
class Commands:
    """Words of a command line. `passes`: corroborated; `differs`: a mismatch; `fails`: every perspective ends in `error`;
    `malformed`: a 400 whose text has `named` in it."""

    passes: str
    differs: str
    fails: str
    error: str
    malformed: str
    named: str


COMMANDS: Final[Mapping[Method, Commands]] = {
    Method.CAA: Commands(
        "issue.check.test", "forbid.check.test", _BOGUS, "target:dns.bogus", "issue..check.test", "domain_or_ip_target"
    ),
    Method.WEBSITE_CHANGE: Commands(
        f"web.check.test {_PAGE}",
        f"other.check.test {_PAGE}",
        f"none.check.test {_PAGE}",
        "target:dns.no-address",
        f"*.web.check.test {_PAGE}",
        "3.2.2.4.18",
    ),
    Method.ACME_HTTP_01: Commands(
        f"web.check.test {_HTTP_01}",
        f"plainmiss.check.test {_HTTP_01}",
        f"loopback.check.test {_HTTP_01}",
        "target:address.refused",
        f"*.web.check.test {_HTTP_01}",
        "3.2.2.4.19",
    ),
    Method.ACME_TLS_ALPN_01: Commands(
        f"alpn.hostile.check.test {_KEY}",
        f"alpn-digest.hostile.check.test {_KEY}",
        f"tls-garbage.hostile.check.test {_KEY}",
        "target:tls.failed",
        f"*.alpn.hostile.check.test {_KEY}",
        "3.2.2.4.20",
    ),
    Method.ACME_DNS_01: Commands(
        f"txt.check.test {_KEY}",
        f"case.check.test {_KEY}",
        f"{_BOGUS} {_KEY}",
        "target:dns.bogus",
        f"198.18.20.80 {_KEY}",
        "is an IP address",
    ),
    Method.DNS_ACCOUNT_01: Commands(
        f"txt.check.test {_ACCOUNT}",
        f"case.check.test {_ACCOUNT}",
        f"{_BOGUS} {_ACCOUNT}",
        "target:dns.bogus",
        f"198.18.20.80 {_ACCOUNT}",
        "is an IP address",
    ),
    Method.DNS_PERSISTENT: Commands(
        f"198.18.20.80 {_PERSISTENT}",
        f"past.check.test {_PERSISTENT}",
        f"{_BOGUS} {_PERSISTENT}",
        "target:dns.bogus",
        f"txt.check.test:443 {_PERSISTENT}",
        "domain_or_ip_target",
    ),
    Method.DNS_CHANGE: Commands(
        f"txt.check.test --challenge-value {VALUE} --dns-record-type TXT",
        f"txt.check.test --challenge-value {VALUE} --dns-record-type TXT --require-exact-match",
        f"{_BOGUS} --challenge-value {VALUE} --dns-record-type TXT",
        "target:dns.bogus",
        f"txt.check.test --challenge-value {VALUE} --dns-record-type MX",
        "dns_record_type",
    ),
    Method.CONTACT_EMAIL_CAA: Commands(
        f"{_CONTACT} Admin@check.test",
        f"{_CONTACT} admin@check.test",
        f"{_BOGUS} --challenge-value admin@check.test",
        "target:dns.bogus",
        f"{_CONTACT} nobody",
        "challenge_value",
    ),
    Method.CONTACT_EMAIL_TXT: Commands(
        f"{_CONTACT} admin@check.test",
        f"{_CONTACT} Admin@check.test",
        f"{_BOGUS} --challenge-value admin@check.test",
        "target:dns.bogus",
        f"{_CONTACT} nobody",
        "challenge_value",
    ),
    Method.CONTACT_PHONE_CAA: Commands(
        f"{_CONTACT} +15550100",
        f"{_CONTACT} +15550101",
        f"{_BOGUS} --challenge-value +15550100",
        "target:dns.bogus",
        f"{_CONTACT} 15550100",
        "challenge_value",
    ),
    Method.CONTACT_PHONE_TXT: Commands(
        f"{_CONTACT} +1-555-0100",
        f"{_CONTACT} +15550101",
        f"{_BOGUS} --challenge-value +15550100",
        "target:dns.bogus",
        f"{_CONTACT} 15550100",
        "challenge_value",
    ),
    Method.REVERSE_ADDRESS_LOOKUP: Commands(
        "198.18.20.80 --challenge-value web.check.test",
        "198.18.20.80 --challenge-value other.check.test",
        "198.18.20.99 --challenge-value web.check.test",
        "target:dns.servfail",
        "web.check.test --challenge-value web.check.test",
        "is a domain name",
    ),
}
"""Every method but `ip-address`, which the BRs forbid on any day that this software knows."""

IP_ADDRESS: Final = "web.check.test --challenge-value 198.18.20.80 --dns-record-type A"
