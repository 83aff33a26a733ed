"""Honest applicants are corroborated, others are not, and the targets saw the egress nodes' addresses alone."""

from __future__ import annotations

import pytest

from tests.e2e.asking import DIGEST, KEY_AUTHORIZATION, TOKEN, caa, corroborating, decide, dns_01, http_01
from tests.lab import Lab, topology, wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

REMOTES = {egress.code for egress in topology.EGRESSES}
OWN_ADDRESSES = {
    topology.PRIMARY.code: set(map(str, topology.PRIMARY.address)),
    **{egress.code: set(map(str, egress.address)) for egress in topology.EGRESSES},
}


def test_http_01_is_seen_from_every_egress_address(lab: Lab, appliance: Appliance) -> None:
    before = len(lab.requests_seen("honest.example", "quay"))
    lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION)
    answer = decide(appliance, http_01("honest.example"))
    assert answer["is_valid"] is True
    assert answer["quorum"] == "6/6"
    assert corroborating(answer) == REMOTES

    def sources() -> set[str]:
        return {request.source for request in lab.requests_seen("honest.example", "quay")[before:]}

    def all_came() -> bool:
        return all(sources() & addresses for addresses in OWN_ADDRESSES.values())

    wait_until(all_came, 5, "a request from each perspective")
    assert sources() <= set().union(*OWN_ADDRESSES.values())
    lab.clear_token("honest.example", TOKEN)
    assert decide(appliance, http_01("honest.example"))["quorum"] == "0/6"


@pytest.mark.parametrize(("zone", "server"), [("honest.example", "quay"), ("plain.example", "sakura")])
def test_dns_01(lab: Lab, appliance: Appliance, zone: str, server: str) -> None:
    lab.set_txt(f"_acme-challenge.{zone}", ["another value", DIGEST], server)
    try:
        answer = decide(appliance, dns_01(zone))
    finally:
        lab.clear_txt(f"_acme-challenge.{zone}", server)
    assert answer["is_valid"] is True
    assert corroborating(answer) == REMOTES
    assert decide(appliance, dns_01(f"other.{zone}"))["is_valid"] is False


@pytest.mark.parametrize(
    ("name", "permitted", "found_at"),
    [
        ("honest.example", True, "honest.example"),
        ("a.b.honest.example", True, "honest.example"),
        ("*.honest.example", True, "honest.example"),
        ("free.example", True, None),
        ("forbidden.example", False, "forbidden.example"),
        ("www.forbidden.example", False, "forbidden.example"),
    ],
)
def test_caa(appliance: Appliance, name: str, permitted: bool, found_at: str | None) -> None:
    answer = decide(appliance, caa(name))
    assert answer["is_valid"] is permitted
    assert answer["quorum"] == ("6/6" if permitted else "0/6")
    assert {part["check_response"]["details"]["found_at"] for part in answer["perspectives"]} == {found_at}


def test_a_hijack_of_a_signed_zones_servers_is_bogus_where_it_is_seen(lab: Lab, appliance: Appliance) -> None:
    name = "signed.honest.example"  # asked by no other test: no resolver has it in its cache
    record = f"_acme-challenge.{name}"
    lab.set_txt(record, [DIGEST], "mallory")
    captured = lab.hijack("dns-prefix-signed").captures
    try:
        answer = decide(appliance, dns_01(name))
    finally:
        lab.clear_txt(record, "mallory")
    assert answer["is_valid"] is False
    assert corroborating(answer) == set()
    failed = {
        part["perspective_code"] for part in answer["perspectives"] if not part["check_response"]["check_completed"]
    }
    assert failed == captured - {topology.PRIMARY.code}


def test_special_purpose_targets_are_refused_before_anybody_is_asked(appliance: Appliance) -> None:
    for target in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::a9fe:a9fe"):
        refused = appliance.ask("POST", "/mpic", http_01(target))
        assert refused.status_code == 400, refused.text
        assert "nobody can show control of it" in refused.text
