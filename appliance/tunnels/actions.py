"""What the executor can do to one namespace. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config.schema import IpInterface
from appliance.linux.netlink import Route
from appliance.tunnels.observed import LinkPlace


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Removes what an interrupted set-up left at the namespace's path."""


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """Makes the named namespace."""


@dataclass(frozen=True, slots=True)
class SetSysctls:
    """Sets these in the namespace."""

    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BringLoopbackUp:
    """Brings `lo` up."""


@dataclass(frozen=True, slots=True)
class StopBackend:
    """Ends the user-space process that holds the interface's name."""


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Removes the interface where it is."""

    place: LinkPlace


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Makes the interface: a tunnel in the host's namespace, the primary's link in its own."""


@dataclass(frozen=True, slots=True)
class MoveLink:
    """Moves the interface from the host's namespace into its own."""


@dataclass(frozen=True, slots=True)
class Configure:
    """Keys, port and peer of the tunnel."""


@dataclass(frozen=True, slots=True)
class SetEndpoint:
    """The peer's endpoint alone."""


@dataclass(frozen=True, slots=True)
class SetMtu:
    """The interface's MTU, octets."""

    mtu: int


@dataclass(frozen=True, slots=True)
class BringUp:
    """Brings the interface up."""


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Removes an address that is not configured."""

    address: IpInterface


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Adds a configured address."""

    address: IpInterface


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Removes a route that should not be."""

    route: Route


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Adds a route."""

    route: Route


@dataclass(frozen=True, slots=True)
class SetHostSysctls:
    """Sets these in the host's namespace, noting what they were."""

    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BringHostEndUp:
    """Brings the host's end of the primary's veth up."""


@dataclass(frozen=True, slots=True)
class AddHostAddress:
    """Adds an address to the host's end."""

    address: IpInterface


@dataclass(frozen=True, slots=True)
class AddHostRoute:
    """Adds a route of the host's, to the primary."""

    route: Route


Action = (
    RemoveFile
    | CreateNamespace
    | SetSysctls
    | BringLoopbackUp
    | StopBackend
    | RemoveLink
    | CreateLink
    | MoveLink
    | Configure
    | SetEndpoint
    | SetMtu
    | BringUp
    | RemoveAddress
    | AddAddress
    | RemoveRoute
    | AddRoute
    | SetHostSysctls
    | BringHostEndUp
    | AddHostAddress
    | AddHostRoute
)
