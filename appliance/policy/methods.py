"""Each validation method's section of the BRs, the identifiers that it is for, and the dates from which it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from appliance.model.check import Method
from appliance.model.identifier import Identifier, IdentifierType
from appliance.policy.br_table import BR_VERSION


@dataclass(frozen=True, slots=True)
class MethodRule:
    """BR sections for domain names and for IP addresses; None where the method is not for them.

    `should_not_from`, `must_not_from`: the first day on which the BRs advise against it, or forbid to rely on it.
    """

    domain_section: str | None
    address_section: str | None
    wildcards: bool
    should_not_from: date | None = None
    must_not_from: date | None = None


@dataclass(frozen=True, slots=True)
class Permitted:
    """The BRs have nothing against the method on that day."""


@dataclass(frozen=True, slots=True)
class Discouraged:
    """A SHOULD NOT is in force: to be answered with this warning."""

    warning: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A MUST NOT is in force: to be refused with this reason."""

    reason: str


Ruling = Permitted | Discouraged | Forbidden

_PHONE = (date(2026, 3, 15), date(2027, 3, 15))
_EMAIL = (date(2026, 3, 15), date(2028, 3, 15))

RULES: Mapping[Method, MethodRule] = MappingProxyType(
    {
        Method.CAA: MethodRule("3.2.2.8", None, wildcards=True),
        Method.WEBSITE_CHANGE: MethodRule("3.2.2.4.18", "3.2.2.5.1", wildcards=False),
        Method.ACME_HTTP_01: MethodRule("3.2.2.4.19", "3.2.2.5.6", wildcards=False),
        Method.ACME_TLS_ALPN_01: MethodRule("3.2.2.4.20", "3.2.2.5.7", wildcards=False),
        Method.ACME_DNS_01: MethodRule("3.2.2.4.7", None, wildcards=True),
        Method.DNS_ACCOUNT_01: MethodRule("3.2.2.4.21", None, wildcards=True),
        Method.DNS_PERSISTENT: MethodRule("3.2.2.4.22", "3.2.2.5.8", wildcards=True),
        Method.DNS_CHANGE: MethodRule("3.2.2.4.7", None, wildcards=True),
        Method.CONTACT_EMAIL_CAA: MethodRule("3.2.2.4.13", None, True, *_EMAIL),
        Method.CONTACT_EMAIL_TXT: MethodRule("3.2.2.4.14", None, True, *_EMAIL),
        Method.CONTACT_PHONE_CAA: MethodRule("3.2.2.4.17", None, True, *_PHONE),
        Method.CONTACT_PHONE_TXT: MethodRule("3.2.2.4.16", None, True, *_PHONE),
        Method.IP_ADDRESS: MethodRule("3.2.2.4.8", None, wildcards=False, must_not_from=date(2026, 3, 15)),
        Method.REVERSE_ADDRESS_LOOKUP: MethodRule(None, "3.2.2.5.3", wildcards=False, must_not_from=date(2027, 3, 15)),
    }
)


def section_of(method: Method, identifier: IdentifierType) -> str | None:
    """The BR section that `method` is of for such an identifier; None where it is not for it."""
    rule = RULES[method]
    return rule.domain_section if identifier is IdentifierType.DNS else rule.address_section


def refusal(method: Method, identifier: Identifier) -> str | None:
    """Why `method` must not be used for `identifier`, in words; None where it may."""
    if section_of(method, identifier.type) is None:
        kind = "a domain name" if identifier.type is IdentifierType.DNS else "an IP address"
        return f"is {kind}, which {method} is not for"
    if identifier.wildcard and not RULES[method].wildcards:
        return f"is a wildcard domain name, which {method} must not validate (BR {RULES[method].domain_section})"
    return None


def permitted(method: Method, day: date) -> Ruling:
    """What the BRs say on `day` about relying on `method`, in words that cite section, version and date."""
    rule = RULES[method]
    section = rule.domain_section or rule.address_section
    cited = f"(BR {section}, version {BR_VERSION})"
    if rule.must_not_from is not None and day >= rule.must_not_from:
        return Forbidden(f"{method} must not be relied on from {rule.must_not_from.isoformat()} on {cited}")
    if rule.should_not_from is not None and day >= rule.should_not_from:
        until = f", must not from {rule.must_not_from.isoformat()} on" if rule.must_not_from else ""
        return Discouraged(
            f"{method} should not be relied on from {rule.should_not_from.isoformat()} on{until} {cited}"
        )
    return Permitted()
