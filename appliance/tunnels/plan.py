"""Desired + observed -> actions. Pure: no clock, no input or output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from appliance.linux import wireguard
from appliance.linux.netlink import Route, RouteKind
from appliance.linux.netns import NetnsFile
from appliance.tunnels.actions import (
    Action,
    AddAddress,
    AddHostAddress,
    AddHostRoute,
    AddRoute,
    BringHostEndUp,
    BringLoopbackUp,
    BringUp,
    Configure,
    CreateLink,
    CreateNamespace,
    MoveLink,
    RemoveAddress,
    RemoveFile,
    RemoveLink,
    RemoveRoute,
    SetEndpoint,
    SetHostSysctls,
    SetMtu,
    SetSysctls,
    StopBackend,
)
from appliance.tunnels.desired import DesiredNamespace, HostEnd, MacvlanLink, VethLink, WireGuardLink
from appliance.tunnels.observed import LinkPlace, ObservedHostEnd, ObservedNamespace

# A backend that held its link but answered nothing for so long is replaced.
SILENCE_S = 5.0
_LINK_LOCAL = ip_network("fe80::/64")


@dataclass(frozen=True, slots=True)
class Plan:
    """`actions` in their order. With any of `conflicts` nothing is touched: what is there is not ours to change."""

    actions: tuple[Action, ...] = ()
    conflicts: tuple[str, ...] = ()


def plan(
    desired: DesiredNamespace, observed: ObservedNamespace, endpoint: str | None = None, *, stale: bool = False
) -> Plan:
    """What to do so that `desired` is. `endpoint`: the tunnel's, resolved. `stale`: no fresh handshake, so the peer's
    endpoint may be set back to it; while the tunnel lives, WireGuard itself follows the peer."""
    conflicts = tuple(_conflicts(desired, observed))
    if conflicts:
        return Plan(conflicts=conflicts)
    actions: list[Action] = []
    if observed.file is NetnsFile.PLAIN:
        actions.append(RemoveFile())
    if observed.file is not NetnsFile.NETNS:
        actions.append(CreateNamespace())
        in_namespace = observed.place is LinkPlace.NAMESPACE
        observed = replace(
            ObservedNamespace(),
            made_here=observed.made_here,
            backend_pid=observed.backend_pid,
            interface=observed.interface,
            place=LinkPlace.NOWHERE if in_namespace else observed.place,
            link=None if in_namespace else observed.link,
        )
    actions.extend(_surroundings(desired, observed))
    link_actions, observed = _link(desired, observed)
    actions.extend(link_actions)
    is_silent = observed.link is not None and observed.interface is None
    if isinstance(desired.link, WireGuardLink) and not is_silent:
        actions.extend(_wireguard(desired.link, observed.interface, endpoint, stale=stale))
    if desired.host is not None:
        actions.extend(_host_end(desired.host, ObservedHostEnd() if observed.link is None else observed.host))
    actions.extend(_contents(desired, observed))
    return Plan(tuple(actions))


def _conflicts(desired: DesiredNamespace, observed: ObservedNamespace) -> Iterator[str]:
    if observed.file is NetnsFile.OWN:
        yield f"/run/netns/{desired.netns} is the host's own namespace"
    if observed.file is NetnsFile.PLAIN and not observed.made_here:
        yield f"/run/netns/{desired.netns} is no network namespace"
    if observed.foreign_links:
        yield f"{desired.netns} holds other interfaces: {', '.join(sorted(observed.foreign_links))}"
    if observed.place is LinkPlace.HOST and not observed.made_here:
        yield f"the host has an interface {desired.interface} that was not made here"
    if observed.backend_pid is not None and observed.place is LinkPlace.NOWHERE and not observed.made_here:
        yield f"process {observed.backend_pid} already answers for an interface {desired.interface}"
    if observed.link is not None and observed.link.kind not in _kinds(desired):
        yield f"{desired.interface} is of kind {observed.link.kind or 'hardware'}"


def _kinds(desired: DesiredNamespace) -> frozenset[str]:
    match desired.link:
        case WireGuardLink():
            return frozenset({"wireguard", "tun"})
        case MacvlanLink():
            return frozenset({"macvlan"})
        case VethLink():
            return frozenset({"veth"})


def _surroundings(desired: DesiredNamespace, observed: ObservedNamespace) -> Iterator[Action]:
    """What must hold before the interface is in: so that nothing else was ever possible there."""
    wrong = tuple(pair for pair in desired.sysctls if pair not in observed.sysctls)
    if wrong:
        yield SetSysctls(wrong)
    if not observed.loopback_up:
        yield BringLoopbackUp()
    for route in _ordered(observed.routes - desired.routes):
        if not (desired.link_local and route.destination == _LINK_LOCAL):
            yield RemoveRoute(route)
    for route in _ordered(desired.routes - observed.routes):
        if route.kind is RouteKind.PROHIBIT:
            yield AddRoute(route)


def _link(desired: DesiredNamespace, observed: ObservedNamespace) -> tuple[list[Action], ObservedNamespace]:
    """Actions that bring the interface into the namespace, and what is observed of it once they are done."""
    if isinstance(desired.link, WireGuardLink):
        if observed.link is not None and observed.interface is None and observed.silent_s >= SILENCE_S:
            remove: list[Action] = [RemoveLink(observed.place), StopBackend()]
            return [*remove, CreateLink(), MoveLink()], _without_link(observed)
        if observed.place is LinkPlace.NOWHERE:
            stop: list[Action] = [StopBackend()] if observed.backend_pid is not None else []
            return [*stop, CreateLink(), MoveLink()], _without_link(observed)
        if observed.place is LinkPlace.HOST:
            return [MoveLink()], replace(_without_link(observed), interface=observed.interface)
        return [], observed
    if observed.link is None:
        return [CreateLink()], _without_link(observed)
    return [], observed


def _without_link(observed: ObservedNamespace) -> ObservedNamespace:
    kept = frozenset(route for route in observed.routes if route.kind is RouteKind.PROHIBIT)
    return replace(observed, link=None, interface=None, addresses=frozenset(), routes=kept)


def _wireguard(
    link: WireGuardLink, observed: wireguard.Interface | None, endpoint: str | None, *, stale: bool
) -> Iterator[Action]:
    if observed is None or comparable(observed) != comparable(link.wanted):
        yield Configure()
        return
    seen = observed.peers[0].endpoint
    if endpoint is not None and seen != endpoint and (stale or seen is None):
        yield SetEndpoint()


def comparable(interface: wireguard.Interface) -> wireguard.Interface:
    """The interface without what changes by itself: counters, times and the endpoint."""
    still = {"endpoint": None, "latest_handshake_s": 0, "received_bytes": 0, "sent_bytes": 0}
    return replace(interface, peers=tuple(replace(peer, **still) for peer in interface.peers))  # type: ignore[arg-type]


def _host_end(desired: HostEnd, observed: ObservedHostEnd) -> Iterator[Action]:
    wrong = tuple(pair for pair in desired.sysctls if pair not in observed.sysctls)
    if wrong:
        yield SetHostSysctls(wrong)
    for address in sorted(desired.addresses - observed.addresses, key=str):
        yield AddHostAddress(address)
    if observed.link is None or not observed.link.is_up:
        yield BringHostEndUp()
    for route in _ordered(desired.routes - observed.routes):
        yield AddHostRoute(route)


def _contents(desired: DesiredNamespace, observed: ObservedNamespace) -> Iterator[Action]:
    link = observed.link
    if desired.mtu is not None and (link is None or link.mtu != desired.mtu):
        yield SetMtu(desired.mtu)
    for address in sorted(observed.addresses - desired.addresses, key=str):
        if not (desired.link_local and address.version == 6 and address.is_link_local):
            yield RemoveAddress(address)
    for address in sorted(desired.addresses - observed.addresses, key=str):
        yield AddAddress(address)
    if link is None or not link.is_up:
        yield BringUp()
    for route in _ordered(desired.routes - observed.routes):
        if route.kind is not RouteKind.PROHIBIT:
            yield AddRoute(route)


def _ordered(routes: frozenset[Route]) -> list[Route]:
    return sorted(routes, key=lambda r: (-r.destination.prefixlen, r.destination.version, str(r)))
