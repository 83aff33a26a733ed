"""What is: one value per namespace, as the kernel and the WireGuard backend show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.config.schema import IpInterface
from appliance.linux import wireguard
from appliance.linux.netlink import Link, Route
from appliance.linux.netns import NetnsFile


class LinkPlace(StrEnum):
    """Where the namespace's interface is. `HOST`: made, not yet moved."""

    NOWHERE = "nowhere"
    HOST = "host"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True)
class ObservedHostEnd:
    """The host's end of the primary's veth, and the sysctls that it needs."""

    link: Link | None = None
    addresses: frozenset[IpInterface] = frozenset()
    routes: frozenset[Route] = frozenset()
    sysctls: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class ObservedNamespace:
    """One namespace with its interface.

    `made_here`: this daemon's record says that it set out to make them. `interface`: None where no backend answers.
    `backend_pid`: the user-space process that holds the interface's socket. `silent_s`: how long none answered for a link
    that is there.
    """

    file: NetnsFile = NetnsFile.MISSING
    inode: int = 0
    made_here: bool = False
    place: LinkPlace = LinkPlace.NOWHERE
    link: Link | None = None
    loopback_up: bool = False
    foreign_links: frozenset[str] = frozenset()
    addresses: frozenset[IpInterface] = frozenset()
    routes: frozenset[Route] = frozenset()
    sysctls: frozenset[tuple[str, str]] = frozenset()
    interface: wireguard.Interface | None = None
    backend_pid: int | None = None
    silent_s: float = 0.0
    host: ObservedHostEnd = ObservedHostEnd()
