"""Origins by longest prefix match in a dump of the routing table."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.place import Rir
from appliance.model.proof import Result
from appliance.policy.proofs import Expected, RoutingTable, origin, withheld
from appliance.policy.routing import Match, Origin, covering_prefixes, longest_match, more_specifics, routes_to

V4, V6 = "198.18.11.2", "2001:db8:11::2"
DUMP = """\
% RIS whois dump
64500\t0.0.0.0/0\t300
64501\t198.18.0.0/16\t300
64503\t198.18.11.0/24\t300
65536\t198.18.11.0/28\t9
64503\t2001:db8:11::/48\t250
{64510,64511}\t198.18.12.0/24\t20
not a line
64503\t198.18.11.0/24
"""


def test_the_most_specific_that_enough_peers_see() -> None:
    routes = routes_to([V4, V6], DUMP.splitlines())
    assert longest_match(V4, routes) == Match("198.18.11.0/24", (Origin(64503, 300),))
    assert [match.prefix for match in more_specifics(V4, "198.18.11.0/24", routes)] == ["198.18.11.0/28"]
    assert more_specifics(V6, "2001:db8:11::/48", routes) == ()
    assert longest_match(V6, routes) == Match("2001:db8:11::/48", (Origin(64503, 250),))
    assert longest_match("198.18.12.1", routes_to(["198.18.12.1"], DUMP.splitlines())) == Match(
        "198.18.12.0/24", (Origin(64510, 20), Origin(64511, 20))
    )
    assert longest_match("2001:db8:12::1", routes_to(["2001:db8:12::1"], DUMP.splitlines())) is None


@given(st.ip_addresses(), st.data())
def test_covering_prefixes_are_those_that_contain_the_address(address: object, data: st.DataObject) -> None:
    parsed = ip_address(str(address))
    length = data.draw(st.integers(0, parsed.max_prefixlen))
    network = ip_network((parsed, length), strict=False)
    found = covering_prefixes(str(parsed))
    assert str(network) in found
    assert len(found) == parsed.max_prefixlen + 1
    assert all(parsed in ip_network(prefix) for prefix in found)


CLEAN = DUMP.replace("65536\t198.18.11.0/28\t9\n", "")


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (
            "65536\t198.18.11.0/24\t300",
            "198.18.11.2 is in 198.18.11.0/24, which AS65536 (seen by 300 peers) originates beside AS64503",
        ),
        ("65536\t198.18.11.0/24\t1", "AS65536 (seen by 1 peers) originates beside AS64503"),
        ("{64503,65536}\t198.18.11.0/24\t300", "AS65536 (seen by 300 peers) originates beside"),
        ("not-a-number\t198.18.11.0/24\t2", "AS0 (seen by 2 peers) originates beside"),
        (f"{'9' * 5000}\t198.18.11.0/24\t2", "AS0 (seen by 2 peers) originates beside"),
        ("65536\t198.18.11.0/25\t300", "198.18.11.2 is in 198.18.11.0/25 by AS65536 (seen by 300 peers), not AS64503"),
        (
            "65536\t198.18.11.2/32\t1",
            "198.18.11.2 is in 198.18.11.2/32 by AS65536 (seen by 1 peers), within 198.18.11.0/24 of AS64503",
        ),
    ],
)
def test_another_origin_is_never_valid_however_few_see_it(route: str, text: str) -> None:
    result, told = judged(64503, f"{CLEAN}{route}\n")
    assert result is Result.FAILED
    assert text in told


@pytest.mark.parametrize(
    "route",
    ["64503\t198.18.11.0/25\t300", "64503\t198.18.11.2/32\t1", "65536\t198.18.0.0/16\t300", "65536\t0.0.0.0/0\t300"],
)
def test_what_leads_nobody_astray_is_valid(route: str) -> None:
    assert judged(64503, f"{CLEAN}{route}\n")[0] is Result.VALID


def judged(asn: int, dump: str = DUMP) -> tuple[Result, str]:
    expected = Expected("ams", True, (V4, V6), asn, "p", (), None)
    proof = origin(expected, RoutingTable("2026-11-21T00:00:00Z", None, routes_to((V4, V6), dump.splitlines())))
    return proof.result, proof.text


def test_another_registry_is_a_note_and_no_fault() -> None:
    routes = routes_to((V4, V6), CLEAN.splitlines())
    registries = {V4: Rir.ARIN, V6: Rir.RIPE_NCC}
    expected = Expected("ams", True, (V4, V6), 64503, "p", (), None, Rir.RIPE_NCC)
    proof = origin(expected, RoutingTable("2026-11-21T00:00:00Z", None, routes, registries))
    assert proof.result is Result.VALID
    assert proof.notes == (f"{V4} is registered at ARIN; its place is in the region of RIPE NCC",)
    assert withheld([proof]) is None
    unread = origin(expected, RoutingTable("2026-11-21T00:00:00Z", None, routes, registries_problem="too old"))
    assert (unread.result, unread.notes) == (Result.VALID, ("too old",))


def test_the_origin_proof() -> None:
    assert judged(64503, CLEAN)[0] is Result.VALID
    assert judged(64501, CLEAN) == (
        Result.FAILED,
        "198.18.11.2 is in 198.18.11.0/24 by AS64503 (seen by 300 peers), not AS64501; "
        "2001:db8:11::2 is in 2001:db8:11::/48 by AS64503 (seen by 250 peers), not AS64501",
    )
    assert judged(64503, "")[0] is Result.FAILED
    expected = Expected("ams", True, (V4,), 64503, "p", (), None)
    assert origin(expected, None).result is Result.NOT_CONFIGURED
    assert origin(expected, RoutingTable(problem="too old")).result is Result.MISSING
