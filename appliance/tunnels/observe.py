"""Looks at one namespace and its interface; changes nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.linux import netns, sysctl, wireguard
from appliance.linux.netlink import Link, Netlink
from appliance.linux.process import CommandFailed
from appliance.tunnels.desired import DesiredNamespace, HostEnd, WireGuardLink
from appliance.tunnels.handles import Handles
from appliance.tunnels.observed import LinkPlace, ObservedHostEnd, ObservedNamespace


@dataclass(frozen=True, slots=True)
class _Tunnel:
    interface: wireguard.Interface | None = None
    backend_pid: int | None = None


async def observe(
    desired: DesiredNamespace, host: Netlink, handles: Handles, *, made_here: bool, silent_s: float
) -> ObservedNamespace:
    """The namespace as it is now. Raises `NetlinkRefused` or `NoNamespace` where it goes away meanwhile, `OSError`."""
    path = netns.path_of(desired.netns)
    file = netns.kind_of(path)
    host_links = await host.links()
    outside = host_links.get(desired.interface) if isinstance(desired.link, WireGuardLink) else None
    if file is not netns.NetnsFile.NETNS:
        tunnel = await _tunnel(desired, outside, None)
        return ObservedNamespace(
            file=file,
            made_here=made_here,
            place=LinkPlace.NOWHERE if outside is None else LinkPlace.HOST,
            link=outside,
            interface=tunnel.interface,
            backend_pid=tunnel.backend_pid,
        )
    inner = handles.netlink(desired.netns)
    links = await inner.links()
    inside = links.get(desired.interface)
    tunnel = await _tunnel(desired, inside or outside, path if inside is not None else None)
    place = LinkPlace.NAMESPACE if inside is not None else LinkPlace.NOWHERE if outside is None else LinkPlace.HOST
    return ObservedNamespace(
        file=file,
        inode=netns.inode_of(path),
        made_here=made_here,
        place=place,
        link=inside or outside,
        loopback_up="lo" in links and links["lo"].is_up,
        foreign_links=frozenset(links) - {"lo", desired.interface},
        addresses=(await inner.addresses()).get(desired.interface, frozenset()),
        routes=await inner.routes(),
        sysctls=frozenset(sysctl.read((key for key, _ in desired.sysctls), path).items()),
        interface=tunnel.interface,
        backend_pid=tunnel.backend_pid,
        silent_s=silent_s,
        host=await _host_end(desired.host, host, host_links),
    )


async def ask(desired: DesiredNamespace, link: Link | None, namespace: Path | None) -> wireguard.Interface | None:
    """What the tunnel's backend says; None where none answers. `namespace` is where `link` is, None for the host's."""
    with suppress(wireguard.NoAnswer, CommandFailed):
        if link is not None and link.kind == "wireguard":
            return await wireguard.ask_kernel(desired.interface, namespace)
        return await wireguard.ask_backend(desired.interface)
    return None


async def _tunnel(desired: DesiredNamespace, link: Link | None, namespace: Path | None) -> _Tunnel:
    if not isinstance(desired.link, WireGuardLink):
        return _Tunnel()
    answer = await ask(desired, link, namespace)
    if link is not None and link.kind == "wireguard":
        return _Tunnel(answer)
    return _Tunnel(answer, await wireguard.backend_pid(desired.interface))


async def _host_end(desired: HostEnd | None, host: Netlink, links: dict[str, Link]) -> ObservedHostEnd:
    if desired is None:
        return ObservedHostEnd()
    return ObservedHostEnd(
        link=links.get(desired.interface),
        addresses=(await host.addresses()).get(desired.interface, frozenset()),
        routes=frozenset(route for route in await host.routes() if route.interface == desired.interface),
        sysctls=frozenset(sysctl.read(key for key, _ in desired.sysctls).items()),
    )
