"""A model of the kernel for one namespace: what each action changes in what is observed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from appliance.linux import wireguard
from appliance.linux.netlink import Link, Route, RouteKind
from appliance.linux.netns import NetnsFile
from appliance.tunnels import actions
from appliance.tunnels.actions import Action
from appliance.tunnels.desired import DesiredNamespace, HostEnd, MacvlanLink, VethLink, WireGuardLink
from appliance.tunnels.observed import LinkPlace, ObservedHostEnd, ObservedNamespace

ENDPOINT = "198.18.0.1:51820"
PRIVATE = "QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA="
PUBLIC = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

PEER = wireguard.Peer(
    public_key=PUBLIC,
    preshared_key=None,
    endpoint=None,
    allowed_ips=frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")}),
    persistent_keepalive_s=25,
)
TUNNEL = DesiredNamespace(
    code="ams",
    netns="p-ams",
    interface="wg-ams",
    mtu=1280,
    link=WireGuardLink(wireguard.Interface(PRIVATE, 41001, (PEER,)), ENDPOINT, "auto", ()),
    addresses=frozenset({ip_interface("10.77.0.2/32"), ip_interface("fd77::2/128")}),
    routes=frozenset(
        {
            Route(ip_network("0.0.0.0/0"), RouteKind.UNICAST, "wg-ams"),
            Route(ip_network("::/0"), RouteKind.UNICAST, "wg-ams"),
            Route(ip_network("10.0.0.0/8"), RouteKind.PROHIBIT),
            Route(ip_network("8000::/1"), RouteKind.PROHIBIT),
        }
    ),
    sysctls=(("net/ipv6/conf/all/accept_ra", "0"),),
    link_local=False,
)
PRIMARY = replace(
    TUNNEL,
    code="home",
    netns="p-home",
    interface="primary0",
    mtu=None,
    link=MacvlanLink("up0"),
    routes=frozenset({replace(route, interface="primary0") for route in TUNNEL.routes if route.interface}),
    link_local=True,
)
ROUTED = replace(
    PRIMARY,
    link=VethLink("up0", "h-primary0"),
    host=HostEnd(
        "h-primary0",
        frozenset({ip_interface("fe80::1/64")}),
        frozenset({Route(ip_network("198.18.0.9/32"), RouteKind.UNICAST, "h-primary0")}),
        (("net/ipv4/conf/up0/forwarding", "1"),),
    ),
)


class Impossible(AssertionError):
    """The kernel would refuse this now."""


def apply(  # noqa: PLR0911 -- one return for each action
    desired: DesiredNamespace, seen: ObservedNamespace, action: Action
) -> ObservedNamespace:
    """What is observed once `action` is done. Raises `Impossible`."""
    match action:
        case actions.RemoveFile():
            return replace(seen, file=NetnsFile.MISSING)
        case actions.CreateNamespace():
            if seen.file is not NetnsFile.MISSING:
                raise Impossible("the file is there")
            return replace(_emptied(seen), file=NetnsFile.NETNS)
        case actions.StopBackend():
            return replace(seen, backend_pid=None, interface=None)
        case actions.RemoveLink():
            return _without_link(seen)
        case actions.CreateLink():
            return _created(desired, seen)
        case actions.SetHostSysctls() | actions.AddHostAddress() | actions.AddHostRoute() | actions.BringHostEndUp():
            return replace(seen, host=_host(seen.host, action))
        case _:
            if seen.file is not NetnsFile.NETNS:
                raise Impossible("no namespace")
            return _inside(desired, seen, action)


def _inside(desired: DesiredNamespace, seen: ObservedNamespace, action: Action) -> ObservedNamespace:
    match action:
        case actions.SetSysctls(values):
            names = {key for key, _ in values}
            kept = {(key, value) for key, value in seen.sysctls if key not in names}
            return replace(seen, sysctls=frozenset(kept | set(values)))
        case actions.BringLoopbackUp():
            return replace(seen, loopback_up=True)
        case actions.AddRoute(route) if route.kind is RouteKind.PROHIBIT:
            return replace(seen, routes=seen.routes | {route})
        case actions.RemoveRoute(route):
            return replace(seen, routes=seen.routes - {route})
        case actions.MoveLink():
            if seen.place is not LinkPlace.HOST:
                raise Impossible("the link is not at the host")
            return replace(_flushed(seen), place=LinkPlace.NAMESPACE, link=_down(seen.link))
    if seen.place is not LinkPlace.NAMESPACE or seen.link is None:
        raise Impossible("no link in the namespace")
    return _on_link(desired, seen, seen.link, action)


def _on_link(  # noqa: PLR0911 -- one return for each action
    desired: DesiredNamespace, seen: ObservedNamespace, link: Link, action: Action
) -> ObservedNamespace:
    match action:
        case actions.Configure() if isinstance(desired.link, WireGuardLink):
            return replace(seen, interface=desired.link.wanted)
        case actions.SetEndpoint() if seen.interface is not None:
            peers = tuple(replace(peer, endpoint=ENDPOINT) for peer in seen.interface.peers)
            return replace(seen, interface=replace(seen.interface, peers=peers))
        case actions.SetMtu(mtu):
            return replace(seen, link=replace(link, mtu=mtu))
        case actions.BringUp():
            return replace(seen, link=replace(link, is_up=True))
        case actions.AddAddress(address):
            return replace(seen, addresses=seen.addresses | {address})
        case actions.RemoveAddress(address):
            return replace(seen, addresses=seen.addresses - {address})
        case actions.AddRoute(route):
            if not link.is_up:
                raise Impossible("the link is down")
            return replace(seen, routes=seen.routes | {route})
    raise Impossible(str(action))


def _created(desired: DesiredNamespace, seen: ObservedNamespace) -> ObservedNamespace:
    if seen.link is not None:
        raise Impossible("the link is there")
    if isinstance(desired.link, WireGuardLink):
        if seen.backend_pid is not None:
            raise Impossible("the backend still holds the name")
        bare = wireguard.Interface(None, 0, ())
        return replace(
            seen,
            place=LinkPlace.HOST,
            link=Link(9, desired.interface, "tun", False, 1420),
            interface=bare,
            backend_pid=7,
        )
    if seen.file is not NetnsFile.NETNS:
        raise Impossible("no namespace")
    kind = "macvlan" if isinstance(desired.link, MacvlanLink) else "veth"
    host = ObservedHostEnd(Link(8, "h-primary0", "veth", False, 1500)) if kind == "veth" else seen.host
    return replace(seen, place=LinkPlace.NAMESPACE, link=Link(9, desired.interface, kind, False, 1500), host=host)


def _host(end: ObservedHostEnd, action: Action) -> ObservedHostEnd:
    if end.link is None:
        raise Impossible("no host end")
    match action:
        case actions.SetHostSysctls(values):
            return replace(end, sysctls=end.sysctls | set(values))
        case actions.AddHostAddress(address):
            return replace(end, addresses=end.addresses | {address})
        case actions.AddHostRoute(route):
            if not end.link.is_up:
                raise Impossible("the host end is down")
            return replace(end, routes=end.routes | {route})
        case _:
            return replace(end, link=replace(end.link, is_up=True))


def _down(link: Link | None) -> Link | None:
    return None if link is None else replace(link, is_up=False)


def _flushed(seen: ObservedNamespace) -> ObservedNamespace:
    kept = frozenset(route for route in seen.routes if route.kind is RouteKind.PROHIBIT)
    return replace(seen, addresses=frozenset(), routes=kept)


def _without_link(seen: ObservedNamespace) -> ObservedNamespace:
    return replace(_flushed(seen), link=None, place=LinkPlace.NOWHERE, host=ObservedHostEnd())


def _emptied(seen: ObservedNamespace) -> ObservedNamespace:
    gone = seen.place is LinkPlace.NAMESPACE
    return replace(
        _without_link(seen) if gone else _flushed(seen), routes=frozenset(), sysctls=frozenset(), loopback_up=False
    )
