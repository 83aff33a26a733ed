"""Links, addresses and routes of one network namespace, over rtnetlink(7), as typed values."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.config.schema import IpAddress, IpInterface, IpNetwork
from appliance.errors import ApplianceError
from appliance.linux import netns

_MAIN_TABLE = 254
_PROTOCOL_STATIC = 4
_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_IFA_F_NOPREFIXROUTE = 0x200
_RTNH_F_ONLINK = 0x4
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class NetlinkRefused(ApplianceError):
    """The kernel refused a change. `number` is its errno."""

    def __init__(self, act: str, number: int) -> None:
        super().__init__(f"{act}: {errno.errorcode.get(number, number)}")
        self.number = number


class RouteKind(StrEnum):
    """The route types (rtnetlink(7)) in use here; `OTHER` is any that never should be."""

    UNICAST = "unicast"
    PROHIBIT = "prohibit"
    OTHER = "other"


_KIND_NUMBERS = {1: RouteKind.UNICAST, 8: RouteKind.PROHIBIT}


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `kind` as in `ip -d link`: `wireguard`, `tun`, `macvlan`, `veth`; empty for hardware and `lo`."""

    index: int
    name: str
    kind: str
    is_up: bool
    mtu: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. A prohibiting one has neither gateway nor interface.

    `gateway` may be of the other family than `destination` (RFC 8950 style); it is taken to be on the link.
    """

    destination: IpNetwork
    kind: RouteKind
    interface: str | None = None
    gateway: IpAddress | None = None


class Netlink:
    """One namespace's rtnetlink: that of `namespace`, or the caller's own. It keeps the namespace alive until closed."""

    def __init__(self, namespace: Path | None = None) -> None:
        # Not by its argument `netns`, which forks, creates a namespace where there is none, and ends the child by a
        # signal that reaches this process's event loop too.
        self._ip = AsyncIPRoute()
        with nullcontext() if namespace is None else netns.inside(namespace):
            _ = self._ip.socket
        # The kernel runs one dump at a time on a socket (EBUSY).
        self._one = asyncio.Lock()

    def close(self) -> None:
        """Lets the namespace go."""
        self._ip.close()

    async def links(self) -> dict[str, Link]:
        """Every link by its name."""
        found = {}
        async for message in self._dump(self._ip.get_links()):
            information = message.get_attr("IFLA_LINKINFO")
            kind = information.get_attr("IFLA_INFO_KIND") if information is not None else None
            name: str = message.get_attr("IFLA_IFNAME")
            is_up = bool(message["flags"] & _IFF_UP)
            found[name] = Link(message["index"], name, kind or "", is_up, message.get_attr("IFLA_MTU"))
        return found

    async def addresses(self) -> dict[str, frozenset[IpInterface]]:
        """The addresses by the name of their link."""
        names = {link.index: link.name for link in (await self.links()).values()}
        found: dict[str, set[IpInterface]] = {}
        async for message in self._dump(self._ip.get_addr()):
            address = ip_interface(f"{_address_in(message)}/{message['prefixlen']}")
            found.setdefault(names.get(message["index"], ""), set()).add(address)
        return {name: frozenset(addresses) for name, addresses in found.items()}

    async def routes(self) -> frozenset[Route]:
        """The main table."""
        names = {link.index: link.name for link in (await self.links()).values()}
        found = set()
        for family in _FAMILY.values():
            async for message in self._dump(self._ip.route("dump", family=family)):
                if (message.get_attr("RTA_TABLE") or message["table"]) == _MAIN_TABLE:
                    found.add(_route_in(message, names))
        return frozenset(found)

    async def path_to(self, destination: IpAddress) -> tuple[str, ...]:
        """By which link, source address and gateway a packet to `destination` leaves; empty where there is no route."""
        names = {link.index: link.name for link in (await self.links()).values()}
        try:
            async with self._one:
                answer = await self._ip.route("get", dst=str(destination), family=_FAMILY[destination.version])
        except NetlinkError:
            return ()
        message = answer[0]
        attributes = (message.get_attr("RTA_PREFSRC"), message.get_attr("RTA_GATEWAY"))
        return (names.get(message.get_attr("RTA_OIF"), ""), *(str(value) for value in attributes))

    async def add_wireguard(self, name: str) -> None:
        """A kernel WireGuard interface. Raises `NetlinkRefused` with EOPNOTSUPP where the kernel has none."""
        await self._do(f"link add {name} type wireguard", self._ip.link("add", ifname=name, kind="wireguard"))

    async def add_macvlan(self, name: str, uplink: str, namespace: Path) -> None:
        """A macvlan on `uplink`, born in `namespace`; deaf to the other macvlans of that uplink."""
        with _opened(namespace) as fd:
            added = self._ip.link(
                "add", ifname=name, kind="macvlan", link=await self._index(uplink), macvlan_mode="private", net_ns_fd=fd
            )
            await self._do(f"link add {name} link {uplink} type macvlan", added)

    async def add_veth(self, name: str, namespace: Path, host_name: str) -> None:
        """A veth pair: `name` born in `namespace`, `host_name` here."""
        with _opened(namespace) as fd:
            added = self._ip.link("add", ifname=host_name, kind="veth", peer={"ifname": name, "net_ns_fd": fd})
            await self._do(f"link add {host_name} type veth peer {name}", added)

    async def move(self, name: str, namespace: Path) -> None:
        """Moves link `name` from here into `namespace`; its addresses and routes are lost."""
        with _opened(namespace) as fd:
            await self._do(f"link set {name} netns", self._ip.link("set", index=await self._index(name), net_ns_fd=fd))

    async def remove_link(self, name: str) -> None:
        """Removes link `name`; none there is fine."""
        try:
            index = await self._index(name)
        except NetlinkRefused:
            return
        await self._do(f"link del {name}", self._ip.link("del", index=index), gone=errno.ENODEV)

    async def set_up(self, name: str) -> None:
        """Brings link `name` up."""
        await self._do(f"link set {name} up", self._ip.link("set", index=await self._index(name), state="up"))

    async def set_mtu(self, name: str, mtu: int) -> None:
        """Sets the MTU of link `name`, octets."""
        await self._do(f"link set {name} mtu {mtu}", self._ip.link("set", index=await self._index(name), mtu=mtu))

    async def add_address(self, name: str, address: IpInterface) -> None:
        """Adds `address`, usable at once (no DAD), without a route to its prefix."""
        flags = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.version == 6 else 0)
        await self._address("add", name, address, flags=flags)

    async def remove_address(self, name: str, address: IpInterface) -> None:
        """Removes `address`; none there is fine."""
        await self._address("del", name, address)

    async def add_route(self, route: Route) -> None:
        """Adds `route` to the main table, in place of one to the same destination."""
        await self._route("replace", route)

    async def remove_route(self, route: Route) -> None:
        """Removes `route`; none there is fine."""
        await self._route("del", route)

    async def _address(self, act: str, name: str, address: IpInterface, **more: int) -> None:
        index = await self._index(name)
        done = self._ip.addr(act, index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **more)
        await self._do(f"address {act} {address} dev {name}", done, gone=errno.EADDRNOTAVAIL, there=errno.EEXIST)

    async def _route(self, act: str, route: Route) -> None:
        fields: dict[str, Any] = {"dst": str(route.destination), "family": _FAMILY[route.destination.version]}
        if route.kind is not RouteKind.OTHER:
            fields["type"] = str(route.kind)
        if act != "del":
            fields["proto"] = _PROTOCOL_STATIC
        if route.interface is not None:
            fields["oif"] = await self._index(route.interface)
        if route.gateway is not None:
            fields |= _gateway_fields(route.destination, route.gateway)
        shown = f"route {act} {route.kind} {route.destination} dev {route.interface} via {route.gateway}"
        await self._do(shown, self._ip.route(act, **fields), gone=errno.ESRCH)

    async def _dump(self, request: Awaitable[AsyncIterator[Any]]) -> AsyncIterator[Any]:
        try:
            async with self._one:
                messages = [message async for message in await request]
        except NetlinkError as error:
            raise NetlinkRefused("dump", error.code) from error
        for message in messages:
            yield message

    async def _index(self, name: str) -> int:
        async with self._one:
            found: list[int] = await self._ip.link_lookup(ifname=name)
        if not found:
            raise NetlinkRefused(f"link {name}", errno.ENODEV)
        return found[0]

    async def _do(self, act: str, request: Awaitable[object], *, gone: int = 0, there: int = 0) -> None:
        try:
            async with self._one:
                await request
        except NetlinkError as error:
            if error.code not in {gone, there}:
                raise NetlinkRefused(act, error.code) from error


def _gateway_fields(destination: IpNetwork, gateway: IpAddress) -> dict[str, Any]:
    if gateway.version == destination.version:
        return {"gateway": str(gateway), "flags": _RTNH_F_ONLINK}
    return {"via": {"family": _FAMILY[gateway.version], "addr": str(gateway)}, "flags": _RTNH_F_ONLINK}


def _address_in(message: Any) -> str:
    # On point-to-point links IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL without one.
    found: str = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return found


def _route_in(message: Any, names: dict[int, str]) -> Route:
    version = 4 if message["family"] == socket.AF_INET else 6
    destination = message.get_attr("RTA_DST") or ("0.0.0.0" if version == 4 else "::")  # noqa: S104 -- the default route
    kind = _KIND_NUMBERS.get(message["type"], RouteKind.OTHER)
    network = ip_network(f"{destination}/{message['dst_len']}")
    if kind is RouteKind.PROHIBIT:
        return Route(network, kind)
    via = message.get_attr("RTA_VIA")
    gateway = message.get_attr("RTA_GATEWAY") or (via["addr"] if via is not None else None)
    interface = names.get(message.get_attr("RTA_OIF") or 0)
    return Route(network, kind, interface, None if gateway is None else ip_address(gateway))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
