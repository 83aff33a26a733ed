"""DNSSEC status, the proof of Insecure and permission by failure, as a real validating resolver shows them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.validating_resolver import Tree, validating_tree

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with validating_tree() as made:
        yield made


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "status", "data"),
    [
        ("host.com", "TXT", "NOERROR", "secure", ['"value"']),
        ("nothing.com", "TXT", "NXDOMAIN", "secure", []),
        ("www.insecure.com", "TXT", "NOERROR", "insecure", ['"value"']),
        ("bogus.com", "CAA", "SERVFAIL", "bogus", []),
    ],
)
def test_status(tree: Tree, name: str, rdtype: str, rcode: str, status: str, data: list[str]) -> None:
    lookup = tree.inside("tests.system.run_check", "lookup", name, rdtype)
    assert (lookup["rcode"], lookup["dnssec"]) == (rcode, status)
    assert [record["data"] for record in lookup["records"]] == data
    if status == "bogus":
        assert lookup["error"]["code"] == "dns.bogus"
        assert lookup["ede"]


@pytest.mark.parametrize(
    ("name", "zone_cut"),
    [
        ("dead.com", "dead.com"),
        ("a.b.dead.com", "dead.com"),
        ("www.insecure.com", "insecure.com"),
        ("x.dead.plain", "plain"),
        ("host.com", None),
        ("a.host.com", None),
        ("bogus.com", None),
        # Opt-out: the resolver does not set AD (RFC 5155 section 9.2), so that nothing is shown.
        ("dead.net", None),
    ],
)
def test_proof_of_insecure(tree: Tree, name: str, zone_cut: str | None) -> None:
    proven, reason = tree.inside("tests.system.run_check", "insecure", name, "-")
    assert proven == zone_cut
    assert (reason is None) is (zone_cut is not None)


@pytest.mark.parametrize(
    ("name", "outcome", "zone_cut", "cause"),
    [
        ("dead.com", "match", "dead.com", "caa.servers-fail"),
        ("dead.plain", "match", "plain", "caa.servers-fail"),
        ("dead.net", "error", None, "caa.not-insecure"),
        ("bogus.com", "error", None, "dns.bogus"),
    ],
)
def test_permission_by_failure(tree: Tree, name: str, outcome: str, zone_cut: str | None, cause: str) -> None:
    observation = tree.inside("tests.system.run_check", "caa", name, "-")
    assert observation["outcome"] == outcome
    failure = observation["caa"]["lookup_failure"]
    assert (failure["insecure_zone_cut"], failure["cause"]) == (zone_cut, cause)
    if outcome == "match":
        assert {one["said"] for one in failure["servers"]} == {"closed"}


def test_a_name_that_answers_is_decided_as_ever(tree: Tree) -> None:
    observation = tree.inside("tests.system.run_check", "caa", "www.insecure.com", "-")
    assert observation["outcome"] == "match"
    assert observation["caa"]["found_at"] == "insecure.com"
    assert observation["caa"]["lookup_failure"] is None
    assert observation["dnssec"] == "insecure"
