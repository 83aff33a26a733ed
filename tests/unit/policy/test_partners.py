"""What others' perspectives report of their egress addresses: only a report that nothing contradicts lets an entry count."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.policy.partners import MOST_ADDRESSES, objections, wrong_report

A, B = ip_address("198.51.100.1"), ip_address("2001:db8::1")
CONFIGURED = {"ams": [A], "nyc": [ip_address("198.51.100.2"), B]}
HONEST = {"ams": ["198.51.100.1"], "nyc": ["198.51.100.2", "2001:0DB8:0::1"]}
OWN = {ip_address("203.0.113.1"): "home"}


def test_addresses_are_compared_and_not_their_texts() -> None:
    assert objections(CONFIGURED, HONEST, OWN) == {}
    assert objections(CONFIGURED, HONEST | {"ams": ["::ffff:198.51.100.1"]}, OWN) == {}
    assert wrong_report(["198.51.100.2"], CONFIGURED["nyc"]) is None, "one family of two is enough"


@pytest.mark.parametrize(
    ("reported", "withheld", "word"),
    [
        ([], {"ams"}, "reports no egress address"),
        (["198.51.100.9"], {"ams"}, "198.51.100.9, which is not in its egress_addresses"),
        (["198.51.100.1", "198.51.100.9"], {"ams"}, "198.51.100.9, which is not in its egress_addresses"),
        (["198.51.100.2"], {"ams", "nyc"}, "is also that of"),
        (["junk\n", "::ffff:198.51.100.2"], {"ams", "nyc"}, "is also that of"),
        (["203.0.113.1"], {"ams"}, "is also that of home"),
        (["fe80::1%eth0"], {"ams"}, "not an IP address"),
        (["junk\nmpicd: all is well"], {"ams"}, "not an IP address"),
        (["9" * 100_000], {"ams"}, "not an IP address"),
        ([f"10.0.{n // 256}.{n % 256}" for n in range(60_000)], {"ams"}, f"more than {MOST_ADDRESSES}"),
    ],
)
def test_a_contradiction_withholds_all_that_share_it(reported: list[str], withheld: set[str], word: str) -> None:
    found = objections(CONFIGURED, HONEST | {"ams": reported}, OWN)
    assert set(found) == withheld
    assert word in found["ams"]
    assert all(text.isprintable() and len(text) < 1000 for text in found.values())


def test_an_address_that_is_configured_and_our_own_is_withheld() -> None:
    own = {A: "home"}
    assert "is also that of home" in objections(CONFIGURED, HONEST, own)["ams"]


def test_who_does_not_answer_is_not_judged() -> None:
    assert objections(CONFIGURED, {"nyc": HONEST["nyc"]}, OWN) == {}
