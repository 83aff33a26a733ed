"""The table of methods on both sides of each date."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from appliance.model.check import Method
from appliance.model.identifier import Identifier, IdentifierType
from appliance.policy.methods import RULES, Discouraged, Forbidden, Permitted, permitted, refusal, section_of

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("method", "should_not", "must_not"),
    [
        (Method.IP_ADDRESS, None, "2026-03-15"),
        (Method.CONTACT_EMAIL_CAA, "2026-03-15", "2028-03-15"),
        (Method.CONTACT_EMAIL_TXT, "2026-03-15", "2028-03-15"),
        (Method.CONTACT_PHONE_CAA, "2026-03-15", "2027-03-15"),
        (Method.CONTACT_PHONE_TXT, "2026-03-15", "2027-03-15"),
        (Method.REVERSE_ADDRESS_LOOKUP, None, "2027-03-15"),
    ],
)
def test_dates(method: Method, should_not: str | None, must_not: str) -> None:
    section = RULES[method].domain_section or RULES[method].address_section
    last = date.fromisoformat(must_not)
    forbidden = permitted(method, last)
    assert isinstance(forbidden, Forbidden)
    assert must_not in forbidden.reason
    assert f"BR {section}," in forbidden.reason
    before = permitted(method, last - DAY)
    if should_not is None:
        assert before == Permitted()
        return
    assert isinstance(before, Discouraged)
    assert should_not in before.warning
    assert must_not in before.warning
    first = date.fromisoformat(should_not)
    assert isinstance(permitted(method, first), Discouraged)
    assert permitted(method, first - DAY) == Permitted()


@pytest.mark.parametrize("day", ["2025-01-01", "2026-11-21", "2030-01-01"])
def test_the_others_have_no_date(day: str) -> None:
    dated = {m for m, rule in RULES.items() if rule.must_not_from}
    assert len(dated) == 6
    assert all(permitted(m, date.fromisoformat(day)) == Permitted() for m in Method if m not in dated)


def test_every_method_has_a_rule_and_a_section() -> None:
    assert set(RULES) == set(Method)
    assert all(section_of(m, IdentifierType.DNS) or section_of(m, IdentifierType.IP) for m in Method)


def test_wildcards_and_addresses() -> None:
    wildcard = Identifier(IdentifierType.DNS, "n.example", True, "*.n.example")
    address = Identifier(IdentifierType.IP, "198.18.0.1", False, "198.18.0.1")
    assert {m for m in Method if refusal(m, wildcard)} == {
        Method.WEBSITE_CHANGE,
        Method.ACME_HTTP_01,
        Method.ACME_TLS_ALPN_01,
        Method.IP_ADDRESS,
        Method.REVERSE_ADDRESS_LOOKUP,
    }
    assert {m for m in Method if not refusal(m, address)} == {
        Method.WEBSITE_CHANGE,
        Method.ACME_HTTP_01,
        Method.ACME_TLS_ALPN_01,
        Method.DNS_PERSISTENT,
        Method.REVERSE_ADDRESS_LOOKUP,
    }
