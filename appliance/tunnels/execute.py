"""Does one action after the other. All knowledge of what to do is in the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.linux import netns, sysctl, wireguard
from appliance.linux.netlink import Netlink
from appliance.tunnels import actions, backend
from appliance.tunnels.actions import Action
from appliance.tunnels.desired import DesiredNamespace, MacvlanLink, VethLink, WireGuardLink
from appliance.tunnels.handles import Handles
from appliance.tunnels.observed import LinkPlace
from appliance.tunnels.record import Record


@dataclass(frozen=True, slots=True)
class Executor:
    """Acts on one namespace. `inner`: its netlink, opened when the namespace is there."""

    desired: DesiredNamespace
    host: Netlink
    handles: Handles
    launcher: backend.Launcher
    record: Record

    async def execute(self, action: Action, endpoint: str | None) -> None:
        """Does `action`. Raises `ApplianceError` of several kinds, `OSError`; the next look at the namespace starts anew."""
        match action:
            case actions.RemoveFile():
                await netns.delete(self.desired.netns)
            case actions.CreateNamespace():
                await netns.create(self.desired.netns)
            case actions.SetSysctls(values):
                sysctl.write(dict(values), self._path)
            case actions.StopBackend():
                await self.launcher.stop(self.desired.interface)
            case actions.RemoveLink(place):
                await (self.host if place is LinkPlace.HOST else self._inner).remove_link(self.desired.interface)
            case actions.CreateLink():
                await self._create_link()
            case actions.MoveLink():
                await self.host.move(self.desired.interface, self._path)
            case actions.Configure() | actions.SetEndpoint():
                await self._configure(endpoint, whole=isinstance(action, actions.Configure))
            case (
                actions.SetHostSysctls() | actions.BringHostEndUp() | actions.AddHostAddress() | actions.AddHostRoute()
            ):
                await self._on_host(action)
            case _:
                await self._inside(action)

    async def _on_host(self, action: Action) -> None:
        end = self.desired.host
        if end is None:
            raise AssertionError("only a routed veth is planned to have an end at the host")
        match action:
            case actions.SetHostSysctls(values):
                self.record.note_host_sysctls(sysctl.read(key for key, _ in values))
                sysctl.write(dict(values))
            case actions.BringHostEndUp():
                await self.host.set_up(end.interface)
            case actions.AddHostAddress(address):
                await self.host.add_address(end.interface, address)
            case actions.AddHostRoute(route):
                await self.host.add_route(route)

    async def _inside(self, action: Action) -> None:
        inner, name = self._inner, self.desired.interface
        match action:
            case actions.BringLoopbackUp():
                await inner.set_up("lo")
            case actions.BringUp():
                await inner.set_up(name)
            case actions.SetMtu(mtu):
                await inner.set_mtu(name, mtu)
            case actions.RemoveAddress(address):
                await inner.remove_address(name, address)
            case actions.AddAddress(address):
                await inner.add_address(name, address)
            case actions.RemoveRoute(route):
                await inner.remove_route(route)
            case actions.AddRoute(route):
                await inner.add_route(route)

    async def _create_link(self) -> None:
        name = self.desired.interface
        match self.desired.link:
            case WireGuardLink(backend=wanted):
                await backend.create(name, wanted, self.host, self.launcher)
            case MacvlanLink(uplink):
                await self.host.add_macvlan(name, uplink, self._path)
            case VethLink(host_name=host_name):
                await self.host.add_veth(name, self._path, host_name)

    async def _configure(self, endpoint: str | None, *, whole: bool) -> None:
        link = self.desired.link
        if not isinstance(link, WireGuardLink):
            raise AssertionError("only a tunnel is planned to be configured")
        namespace = await self.wg_namespace()
        if whole:
            peers = tuple(replace(peer, endpoint=endpoint) for peer in link.wanted.peers)
            await wireguard.synchronise(self.desired.interface, namespace, replace(link.wanted, peers=peers))
        elif endpoint is not None:
            public_key = link.wanted.peers[0].public_key
            await wireguard.set_endpoint(self.desired.interface, namespace, public_key, endpoint)

    async def wg_namespace(self) -> Path | None:
        """Where wg(8) finds the interface: in its namespace with the kernel's, None (its socket) with a user-space backend."""
        link = (await self._inner.links()).get(self.desired.interface)
        return self._path if link is not None and link.kind == "wireguard" else None

    @property
    def _path(self) -> Path:
        return netns.path_of(self.desired.netns)

    @property
    def _inner(self) -> Netlink:
        return self.handles.netlink(self.desired.netns)
