"""What should be: one value per namespace, worked out from the settings alone."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_interface, ip_network
from typing import Literal

from appliance.config import PerspectiveConfig, PrimaryConfig, Settings
from appliance.config.schema import IpAddress, IpInterface, IpNetwork
from appliance.linux import wireguard
from appliance.linux.netlink import Route, RouteKind
from appliance.linux.users import find_user
from appliance.net.special_purpose import special_purpose_networks
from appliance.tunnels.keys import Keys

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
# The host's end of the primary's veth: a link-local gateway for both families (RFC 5549 style).
VETH_GATEWAY = IPv6Address("fe80::1")


@dataclass(frozen=True, slots=True)
class WireGuardLink:
    """A tunnel. `wanted` has no endpoint; `endpoint` is the configured one, a literal or a name, with its port."""

    wanted: wireguard.Interface
    endpoint: str
    backend: Literal["auto", "kernel", "wireguard-go"]
    peer_addresses: tuple[IpAddress, ...]


@dataclass(frozen=True, slots=True)
class MacvlanLink:
    """The primary's link on the host's `uplink`."""

    uplink: str


@dataclass(frozen=True, slots=True)
class VethLink:
    """The primary's link to the host, which routes to and from `uplink`; `host_name` is its other end."""

    uplink: str
    host_name: str


@dataclass(frozen=True, slots=True)
class HostEnd:
    """What the host needs so that it routes for the primary: the veth's other end, routes to it, forwarding."""

    interface: str
    addresses: frozenset[IpInterface]
    routes: frozenset[Route]
    sysctls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DesiredNamespace:
    """A namespace that holds `lo` and `interface`, nothing else. `routes` are its whole main table.

    `link_local`: the interface has link-local addresses of IPv6 and the routes that the kernel makes for them.
    """

    code: str
    netns: str
    interface: str
    mtu: int | None
    link: WireGuardLink | MacvlanLink | VethLink
    addresses: frozenset[IpInterface]
    routes: frozenset[Route]
    sysctls: tuple[tuple[str, str], ...]
    link_local: bool
    host: HostEnd | None = None


def desired_namespaces(settings: Settings, keys: dict[str, Keys]) -> tuple[DesiredNamespace, ...]:
    """Every namespace that should be, the primary's first. `keys` by perspective code. Raises `NoSuchUser`."""
    refused = special_purpose_networks(settings.targets.special_purpose_exceptions)
    tunnels = [_tunnel(p, keys[p.code], settings, refused) for p in settings.perspectives]
    if settings.primary.kind == "caller":
        return tuple(tunnels)
    return (_primary(settings.primary, settings, refused), *tunnels)


def desired_tunnel(settings: Settings, code: str, keys: Keys) -> DesiredNamespace:
    """The namespace of one remote perspective with `keys`. Raises `KeyError` for a code that is none's, `NoSuchUser`."""
    refused = special_purpose_networks(settings.targets.special_purpose_exceptions)
    configured = {perspective.code: perspective for perspective in settings.perspectives}
    return _tunnel(configured[code], keys, settings, refused)


def _tunnel(
    perspective: PerspectiveConfig, keys: Keys, settings: Settings, refused: list[IpNetwork]
) -> DesiredNamespace:
    config = perspective.wireguard
    versions = {address.version for address in config.addresses}
    peer = wireguard.Peer(
        public_key=config.public_key,
        preshared_key=keys.preshared,
        endpoint=None,
        allowed_ips=frozenset(n for n in EVERYTHING if n.version in versions),
        persistent_keepalive_s=config.persistent_keepalive_s,
    )
    inward = [ip_network(a) for a in config.peer_addresses]
    outward = [n for n in EVERYTHING if n.version in versions]
    routes = {Route(n, RouteKind.UNICAST, config.interface) for n in (*outward, *inward)}
    return DesiredNamespace(
        code=perspective.code,
        netns=perspective.netns,
        interface=config.interface,
        mtu=config.mtu,
        link=WireGuardLink(
            wanted=wireguard.Interface(keys.private, config.listen_port, (peer,)),
            endpoint=config.endpoint,
            backend=config.backend,
            peer_addresses=config.peer_addresses,
        ),
        addresses=frozenset(keys.slot.addresses(config)),
        routes=frozenset(routes | _prohibited(refused)),
        sysctls=_sysctls(find_user(settings.users.perspective).gid, link_local=False),
        link_local=False,
    )


def _primary(primary: PrimaryConfig, settings: Settings, refused: list[IpNetwork]) -> DesiredNamespace:
    if primary.netns is None or primary.uplink is None:
        raise AssertionError("appliance.config.rules lets no local primary through without these")
    link: MacvlanLink | VethLink
    if primary.link == "macvlan":
        link = MacvlanLink(primary.uplink)
        gateways: list[IpAddress] = list(primary.gateways)
        routes = {Route(_default(g), RouteKind.UNICAST, primary.interface, g) for g in gateways}
    else:
        link = VethLink(primary.uplink, f"h-{primary.interface}"[:15])
        defaults = {n for n in EVERYTHING if any(n.version == a.version for a in primary.addresses)}
        routes = {Route(n, RouteKind.UNICAST, primary.interface, VETH_GATEWAY) for n in defaults}
    return DesiredNamespace(
        code=primary.code,
        netns=primary.netns,
        interface=primary.interface,
        mtu=None,
        link=link,
        addresses=frozenset(primary.addresses),
        routes=frozenset(routes | _prohibited(refused)),
        sysctls=_sysctls(find_user(settings.users.primary).gid, link_local=True),
        link_local=True,
        host=_host_end(primary, link) if isinstance(link, VethLink) else None,
    )


def _host_end(primary: PrimaryConfig, link: VethLink) -> HostEnd:
    name = link.host_name
    values = {f"net/ipv4/conf/{interface}/forwarding": "1" for interface in (name, link.uplink)}
    if any(address.version == 6 for address in primary.addresses):
        # A router ignores advertisements unless told otherwise, and the uplink may live by them.
        values |= {f"net/ipv6/conf/{link.uplink}/accept_ra": "2", "net/ipv6/conf/all/forwarding": "1"}
    return HostEnd(
        interface=name,
        addresses=frozenset({ip_interface(f"{VETH_GATEWAY}/64")}),
        routes=frozenset(Route(ip_network(a.ip), RouteKind.UNICAST, name) for a in primary.addresses),
        sysctls=tuple(values.items()),
    )


def _default(gateway: IpAddress) -> IpNetwork:
    return EVERYTHING[0] if gateway.version == 4 else EVERYTHING[1]


def _prohibited(networks: list[IpNetwork]) -> set[Route]:
    return {Route(network, RouteKind.PROHIBIT) for network in networks}


def _sysctls(gid: int, *, link_local: bool) -> tuple[tuple[str, str], ...]:
    """No address, route or gateway but the configured; echo requests without privilege for group `gid` (icmp(7))."""
    values = {
        "net/ipv4/ping_group_range": f"{gid} {gid}",
        "net/ipv4/ip_local_port_range": "10000 65535",
        "net/ipv4/tcp_mtu_probing": "1",
        "net/ipv4/tcp_syn_retries": "3",
        "net/ipv4/tcp_timestamps": "1",
        "net/ipv6/conf/default/addr_gen_mode": "0" if link_local else "1",
    }
    for scope in ("all", "default"):
        values |= {
            f"net/ipv4/conf/{scope}/forwarding": "0",
            f"net/ipv4/conf/{scope}/accept_redirects": "0",
            f"net/ipv4/conf/{scope}/accept_source_route": "0",
            f"net/ipv6/conf/{scope}/forwarding": "0",
            f"net/ipv6/conf/{scope}/accept_ra": "0",
            f"net/ipv6/conf/{scope}/autoconf": "0",
            f"net/ipv6/conf/{scope}/accept_dad": "0",
            f"net/ipv6/conf/{scope}/accept_redirects": "0",
        }
    return tuple(sorted(values.items()))
