"""The lab's data keeps its promises: addresses that cannot leak, names that fit, places that make a lawful quorum."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from itertools import combinations

from geographiclib.geodesic import Geodesic

from tests.lab import topology
from tests.lab.addresses import link_ends
from tests.lab.model import Address, Place

V4, V6 = IPv4Network("198.18.0.0/15"), IPv6Network("2001:db8::/32")


def addresses() -> list[Address]:
    own = [address for system in topology.SYSTEMS for address in system.addresses]
    own += [one for one in {site.address for site in topology.BEACON_SITES} if one not in own]
    lans = [one for lan in topology.LANS for one in (lan.gateway, lan.host_address)]
    links = [end for index in range(len(topology.LINKS)) for end in link_ends(index)]
    return own + lans + links + [topology.PRIMARY.address]


def test_every_address_is_the_labs_and_given_once() -> None:
    every = addresses()
    assert all(one.v4 in V4 and one.v6 in V6 for one in every)
    assert len({one.v4 for one in every}) == len(every)
    assert len({one.v6 for one in every}) == len(every)


def test_every_service_address_is_in_an_announced_prefix_of_its_system() -> None:
    for system in topology.SYSTEMS:
        for address in system.addresses:
            assert any(address.v4 in prefix.v4 and address.v6 in prefix.v6 for prefix in system.prefixes)
    for hijack in topology.HIJACKS.values():
        assert hijack.address.v4 in hijack.prefix.v4
        assert hijack.address.v6 in hijack.prefix.v6


def test_names_and_numbers_are_unique_and_fit_an_interface() -> None:
    names = topology.namespaces()
    assert len(set(names)) == len(names)
    operators = {(system.asn, system.operator) for system in topology.SYSTEMS}
    assert len({asn for asn, _ in operators}) == len(operators)
    assert all(len(name) <= 15 for name in names)
    pairs = {frozenset((link.a, link.b)) for link in topology.LINKS}
    assert len(pairs) == len(topology.LINKS)


def test_perspectives_cover_every_region_and_are_500_km_apart() -> None:
    assert {egress.rir for egress in topology.EGRESSES} == {"AFRINIC", "APNIC", "ARIN", "LACNIC", "RIPE NCC"}
    places = [topology.PRIMARY.place, *(egress.place for egress in topology.EGRESSES)]
    assert all(distance_km(a, b) > 500 for a, b in combinations(places, 2))
    assert len({egress.origin_asn for egress in topology.EGRESSES}) == len(topology.EGRESSES)


def test_no_hijack_captures_enough_for_the_attacker() -> None:
    for hijack in topology.HIJACKS.values():
        captured = hijack.captures - {topology.PRIMARY.code}
        assert captured < {egress.code for egress in topology.EGRESSES}
        assert len(topology.EGRESSES) - len(captured) >= 3
        assert topology.PRIMARY.code in hijack.captures


def distance_km(a: Place, b: Place) -> float:
    metres = Geodesic.WGS84.Inverse(a.latitude, a.longitude, b.latitude, b.longitude)["s12"]
    return float(metres) / 1000
