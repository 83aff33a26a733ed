"""The worker's view of its own namespace over rtnetlink(7): links, default routes, and whether they changed.

Synchronous and small, unlike `appliance.linux.netlink`: it is asked before and after each check.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import msgspec

_NLMSG_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_IFINFO = struct.Struct("=BxHiII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_IFLA_IFNAME, _RTA_OIF, _NLA_TYPE_MASK = 3, 4, 0x3FFF
_RTN_UNICAST = 1
_IFF_UP = 0x1
# Links, addresses and routes of IPv4 and IPv6: RTMGRP_* in linux/rtnetlink.h.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_RECEIVE_BYTES = 1 << 16
_DUMP_ATTEMPTS = 5


class Link(msgspec.Struct, frozen=True):
    """A network interface of this namespace."""

    name: str
    is_up: bool


class DefaultRoute(msgspec.Struct, frozen=True):
    """A default route of any table that forwards. `interface` is empty where it has several, or none."""

    version: int
    interface: str


class Topology(msgspec.Struct, frozen=True):
    """All interfaces and default routes of this namespace."""

    links: tuple[Link, ...]
    default_routes: tuple[DefaultRoute, ...]


class Notices(msgspec.Struct, frozen=True):
    """What happened since the last look. `severed`: a link or a default route went away or down, if only for a moment."""

    changed: bool
    severed: bool


class LinkWatch:
    """Two rtnetlink sockets in the caller's namespace: one for notices, one for questions."""

    def __init__(self) -> None:
        self._notices = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._notices.bind((0, _GROUPS))
        self._questions = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._questions.settimeout(1.0)

    def fileno(self) -> int:
        """Readable when there are notices."""
        return self._notices.fileno()

    def close(self) -> None:
        """Ends the watch."""
        self._notices.close()
        self._questions.close()

    def notices(self) -> Notices:
        """Takes all notices that are waiting; one system call where there is none."""
        changed = severed = False
        while True:
            try:
                received = self._notices.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return Notices(changed, severed)
            except OSError:  # ENOBUFS: notices were lost
                changed = severed = True
                continue
            changed = True
            severed = severed or any(_severs(kind, payload) for kind, _, payload in messages(received))

    def topology(self) -> Topology:
        """What is there now. Raises `OSError` where the kernel does not say."""
        links = {}
        for kind, payload in self._dump(_RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0)):
            if kind == _RTM_NEWLINK:
                index, link = _link(payload)
                links[index] = link
        routes = []
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            for kind, payload in self._dump(_RTM_GETROUTE, _RTMSG.pack(family, *[0] * 8)):
                by = _default_route_by(payload) if kind == _RTM_NEWROUTE else None
                if by is not None:
                    routes.append(DefaultRoute(version, links[by].name if by in links else ""))
        return Topology(tuple(links.values()), tuple(routes))

    def _dump(self, kind: int, request: bytes) -> list[tuple[int, bytes]]:
        for _ in range(_DUMP_ATTEMPTS):
            found = self._dump_once(kind, request)
            if found is not None:
                return found
        raise OSError("links and routes change too fast to be read")

    def _dump_once(self, kind: int, request: bytes) -> list[tuple[int, bytes]] | None:
        """The answers, or None where they changed meanwhile."""
        header = _NLMSG_HEADER.pack(_NLMSG_HEADER.size + len(request), kind, _NLM_F_REQUEST_DUMP, 1, 0)
        self._questions.send(header + request)
        found: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for answer, flags, payload in messages(self._questions.recv(_RECEIVE_BYTES)):
                interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                if answer == _NLMSG_DONE:
                    return None if interrupted else found
                if answer == _NLMSG_ERROR:
                    raise OSError("rtnetlink refuses to list links and routes")
                found.append((answer, payload))


def messages(received: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and payload of each netlink message (netlink(7)) in one datagram."""
    start = 0
    while start + _NLMSG_HEADER.size <= len(received):
        length, kind, flags, _, _ = _NLMSG_HEADER.unpack_from(received, start)
        if length < _NLMSG_HEADER.size:
            return
        yield kind, flags, received[start + _NLMSG_HEADER.size : start + length]
        start += (length + 3) & ~3


def _attributes(payload: bytes, start: int) -> dict[int, bytes]:
    found = {}
    while start + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, start)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _NLA_TYPE_MASK] = payload[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3
    return found


def _link(payload: bytes) -> tuple[int, Link]:
    _, _, index, flags, _ = _IFINFO.unpack_from(payload)
    name = _attributes(payload, _IFINFO.size).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    return index, Link(name, bool(flags & _IFF_UP))


def _default_route_by(payload: bytes) -> int | None:
    """The interface index of a forwarding default route, 0 where it is not one interface; None for another route."""
    _, destination_bits, _, _, _, _, _, kind, _ = _RTMSG.unpack_from(payload)
    if destination_bits != 0 or kind != _RTN_UNICAST:
        return None
    return int.from_bytes(_attributes(payload, _RTMSG.size).get(_RTA_OIF, b"\0"), "little")


def _severs(kind: int, payload: bytes) -> bool:
    if kind == _RTM_DELLINK:
        return True
    if kind == _RTM_NEWLINK:
        return not _link(payload)[1].is_up
    return kind == _RTM_DELROUTE and _default_route_by(payload) is not None
