"""From the settings to what should be."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from appliance.config import Settings
from appliance.linux.netlink import Route, RouteKind
from appliance.linux.users import NoSuchUser, find_user
from appliance.tunnels import fence
from appliance.tunnels.desired import DesiredNamespace, VethLink, WireGuardLink, desired_namespaces
from appliance.tunnels.keys import Keys, clamped
from tests.unit.tunnels.world import PRIVATE, PUBLIC

PLACE = {"city": "X", "country": "CH", "latitude": 47.0, "longitude": 7.0}
USERS = {"mpicd": 47001, "perspective": 47002, "primary": 47003, "resolver": 47004, "wireguard": 47005}


def settings(**primary: Any) -> Settings:
    wireguard = {
        "interface": "wg-ams",
        "private_key_file": "/nowhere",
        "public_key": PUBLIC,
        "endpoint": "198.18.0.1:51820",
        "listen_port": 41001,
        "addresses": ["10.77.0.2/32", "fd77::2/128"],
        "peer_addresses": ["10.77.0.1", "fd77::1"],
    }
    perspective = {
        "code": "ams",
        "netns": "p-ams",
        "place": PLACE,
        "provider": "p",
        "upstreams": [1],
        "origin_asn": 2,
        "egress_addresses": ["198.18.0.1", "2001:db8::1"],
        "wireguard": wireguard,
    }
    home = {"code": "home", "netns": "p-home", "place": PLACE, "uplink": "up0", "addresses": ["198.18.50.9/24"]}
    document = {
        "primary": home | {"gateways": ["198.18.50.1"]} | primary,
        "perspectives": [perspective],
        "resolver": {"trust_anchor_file": "/nowhere"},
        "caa": {"issuer_domains": ["ca.example"]},
        "users": USERS,
        "targets": {"special_purpose_exceptions": ["198.18.0.0/15"]},
    }
    return Settings.model_validate(document)


def desired(**primary: Any) -> dict[str, DesiredNamespace]:
    found = desired_namespaces(settings(**primary), {"ams": Keys(PRIVATE, None)})
    return {namespace.code: namespace for namespace in found}


def test_a_tunnel_has_no_way_out_but_its_interface() -> None:
    ams = desired()["ams"]
    unicast = {route for route in ams.routes if route.kind is not RouteKind.PROHIBIT}
    assert {str(route.destination) for route in unicast} == {"0.0.0.0/0", "::/0", "10.77.0.1/32", "fd77::1/128"}
    assert {route.interface for route in unicast} == {"wg-ams"}
    assert Route(ip_network("10.0.0.0/8"), RouteKind.PROHIBIT) in ams.routes
    assert Route(ip_network("198.18.0.0/15"), RouteKind.PROHIBIT) not in ams.routes
    assert isinstance(ams.link, WireGuardLink)
    assert ams.link.wanted.listen_port == 41001


def test_the_primary_goes_by_its_gateways() -> None:
    routes = {route for route in desired()["home"].routes if route.kind is RouteKind.UNICAST}
    assert routes == {Route(ip_network("0.0.0.0/0"), RouteKind.UNICAST, "primary0", ip_address("198.18.50.1"))}


def test_a_routed_primary_has_an_end_at_the_host_of_a_name_that_fits() -> None:
    home = desired(link="routed-veth", interface="abcdefghijklmno")["home"]
    assert isinstance(home.link, VethLink)
    assert len(home.link.host_name) <= 15
    assert home.host is not None
    assert {str(route.destination) for route in home.host.routes} == {"198.18.50.9/32"}


def test_a_caller_primary_has_no_namespace() -> None:
    assert list(desired(kind="caller")) == ["ams"]


def test_echo_requests_are_for_the_workers_group_alone() -> None:
    namespaces = desired()
    assert dict(namespaces["ams"].sysctls)["net/ipv4/ping_group_range"] == "47002 47002"
    assert dict(namespaces["home"].sysctls)["net/ipv4/ping_group_range"] == "47003 47003"


def test_the_fence_names_every_confined_user_and_lets_tunnels_use_their_ports_alone() -> None:
    rules = fence.render(settings(), None)
    assert "skuid { 47002, 47003, 47004 } counter reject" in rules
    assert "skuid 47005 udp sport { 41001 } accept" in rules
    assert "chain forward" not in rules


def test_without_tunnels_the_fence_has_no_port_to_let_through() -> None:
    rules = fence.render(settings().model_copy(update={"perspectives": ()}), None)
    assert "udp sport" not in rules
    assert "skuid 47005 counter reject" in rules


def test_users_by_number_need_no_entry_and_root_is_refused() -> None:
    assert find_user(47002).uid == 47002
    with pytest.raises(NoSuchUser):
        find_user(0)
    with pytest.raises(NoSuchUser):
        find_user("no-such-user-here")


def test_a_key_is_compared_as_backends_show_it() -> None:
    assert clamped("//////////////////////////////////////////8=") == "+P///////////////////////////////////////38="
    assert clamped(PRIVATE) == PRIVATE
