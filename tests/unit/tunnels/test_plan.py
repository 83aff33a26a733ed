"""Whatever is found, the plan leads to what should be, in steps that the kernel takes, from wherever it was broken off."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.linux import wireguard
from appliance.linux.netlink import Link, Route, RouteKind
from appliance.linux.netns import NetnsFile
from appliance.tunnels import actions
from appliance.tunnels.desired import DesiredNamespace, WireGuardLink
from appliance.tunnels.observed import LinkPlace, ObservedNamespace
from appliance.tunnels.plan import SILENCE_S, plan
from tests.unit.tunnels.world import ENDPOINT, PRIMARY, ROUTED, TUNNEL, apply

DESIRED = [TUNNEL, PRIMARY, ROUTED]
FOREIGN_ROUTE = Route(ip_network("198.51.100.0/24"), RouteKind.UNICAST, "wg-ams")
FOREIGN_ADDRESS = ip_interface("192.0.2.7/24")


def settled(desired: DesiredNamespace, seen: ObservedNamespace) -> ObservedNamespace:
    for _ in range(3):
        steps = plan(desired, seen, ENDPOINT).actions
        if not steps:
            return seen
        for step in steps:
            seen = apply(desired, seen, step)
    raise AssertionError(f"never settles: {plan(desired, seen, ENDPOINT).actions}")


@st.composite
def found(draw: st.DrawFn) -> tuple[DesiredNamespace, ObservedNamespace]:
    """A desired namespace, and what may be found: the right thing with parts taken away, spoilt or added."""
    desired = draw(st.sampled_from(DESIRED))
    right = settled(desired, ObservedNamespace(made_here=True))
    seen = replace(
        right,
        loopback_up=draw(st.booleans()),
        addresses=draw(st.sets(st.sampled_from([*right.addresses, FOREIGN_ADDRESS])).map(frozenset)),
        routes=draw(st.sets(st.sampled_from([*right.routes, FOREIGN_ROUTE])).map(frozenset)),
        sysctls=draw(st.sampled_from([right.sysctls, frozenset()])),
    )
    if right.link is not None:
        seen = replace(
            seen, link=replace(right.link, is_up=draw(st.booleans()), mtu=draw(st.sampled_from([1280, 1420])))
        )
    if isinstance(desired.link, WireGuardLink):
        bare = wireguard.Interface(None, 55555, ())
        seen = replace(seen, interface=draw(st.sampled_from([right.interface, bare])))
        place = draw(st.sampled_from(list(LinkPlace)))
        if place is LinkPlace.NOWHERE:
            seen = replace(seen, link=None)
        if place is not LinkPlace.NAMESPACE:
            seen = replace(seen, place=place, addresses=frozenset(), routes=frozenset())
            seen = replace(seen, backend_pid=draw(st.sampled_from([None, 7]))) if place is LinkPlace.NOWHERE else seen
    file = draw(st.sampled_from([NetnsFile.NETNS, NetnsFile.MISSING, NetnsFile.PLAIN]))
    if file is not NetnsFile.NETNS:
        empty = ObservedNamespace(file=file, made_here=True)
        outside = seen.place is LinkPlace.HOST
        seen = replace(empty, place=seen.place, link=seen.link, interface=seen.interface) if outside else empty
    return desired, seen


@given(found())
def test_every_state_is_led_to_the_right_one(state: tuple[DesiredNamespace, ObservedNamespace]) -> None:
    desired, seen = state
    end = settled(desired, seen)
    assert end.addresses == desired.addresses
    assert end.routes == desired.routes
    assert end.link is not None
    assert end.link.is_up
    assert set(desired.sysctls) <= end.sysctls


@given(found(), st.integers(0, 25))
def test_broken_off_after_any_step_it_still_gets_there(
    state: tuple[DesiredNamespace, ObservedNamespace], steps: int
) -> None:
    desired, seen = state
    for step in plan(desired, seen, ENDPOINT).actions[:steps]:
        seen = apply(desired, seen, step)
    assert settled(desired, seen).routes == desired.routes


@pytest.mark.parametrize("desired", DESIRED, ids=lambda d: type(d.link).__name__)
def test_what_is_right_is_left_alone(desired: DesiredNamespace) -> None:
    right = settled(desired, ObservedNamespace())
    assert plan(desired, right, ENDPOINT).actions == ()


@pytest.mark.parametrize("desired", DESIRED, ids=lambda d: type(d.link).__name__)
def test_special_purpose_networks_are_closed_before_the_link_is_in(desired: DesiredNamespace) -> None:
    steps = plan(desired, ObservedNamespace(), ENDPOINT).actions
    last = max(
        (i for i, a in enumerate(steps) if isinstance(a, actions.AddRoute) and a.route.kind == "prohibit"), default=-1
    )
    arrival = next(i for i, a in enumerate(steps) if isinstance(a, actions.MoveLink | actions.CreateLink))
    assert last < arrival


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": NetnsFile.OWN}, "own namespace"),
        ({"file": NetnsFile.PLAIN}, "no network namespace"),
        ({"foreign_links": frozenset({"eth7"})}, "eth7"),
        ({"place": LinkPlace.HOST, "link": Link(3, "wg-ams", "wireguard", True, 1420)}, "not made here"),
        ({"place": LinkPlace.NOWHERE, "link": None, "backend_pid": 4}, "process 4"),
        ({"link": Link(3, "wg-ams", "veth", True, 1420)}, "kind veth"),
    ],
)
def test_what_was_not_made_here_is_not_touched(change: dict[str, object], words: str) -> None:
    right = settled(TUNNEL, ObservedNamespace())
    found_plan = plan(TUNNEL, replace(right, made_here=False, **change), ENDPOINT)  # type: ignore[arg-type]
    assert found_plan.actions == ()
    assert words in "; ".join(found_plan.conflicts)


def test_a_roamed_peer_is_followed_while_it_lives_and_set_back_when_stale() -> None:
    right = settled(TUNNEL, ObservedNamespace())
    assert right.interface is not None
    roamed = replace(right, interface=replace(right.interface, peers=(_at(right.interface.peers[0], "198.18.9.9:1"),)))
    assert plan(TUNNEL, roamed, ENDPOINT).actions == ()
    assert plan(TUNNEL, roamed, ENDPOINT, stale=True).actions == (actions.SetEndpoint(),)


def _at(peer: wireguard.Peer, endpoint: str) -> wireguard.Peer:
    return replace(peer, endpoint=endpoint, latest_handshake_s=99, received_bytes=5)


def test_a_backend_that_holds_its_link_but_is_silent_is_replaced_after_a_while() -> None:
    silent = replace(settled(TUNNEL, ObservedNamespace()), interface=None)
    early = plan(TUNNEL, replace(silent, silent_s=SILENCE_S - 1), ENDPOINT).actions
    late = plan(TUNNEL, replace(silent, silent_s=SILENCE_S), ENDPOINT).actions
    assert actions.CreateLink() not in early
    assert late[:4] == (
        actions.RemoveLink(LinkPlace.NAMESPACE),
        actions.StopBackend(),
        actions.CreateLink(),
        actions.MoveLink(),
    )
