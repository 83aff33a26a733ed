"""The words in which the emulated Internet is described: values only, no behaviour that touches the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

Role = Literal["customer", "peer"]


@dataclass(frozen=True, slots=True)
class Address:
    """One dual-stack address: the same service by both families."""

    v4: IPv4Address
    v6: IPv6Address

    def __iter__(self) -> Iterator[IPv4Address | IPv6Address]:
        yield self.v4
        yield self.v6

    def __str__(self) -> str:
        return f"{self.v4} {self.v6}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """One dual-stack prefix, announced in both families."""

    v4: IPv4Network
    v6: IPv6Network

    def __iter__(self) -> Iterator[IPv4Network | IPv6Network]:
        yield self.v4
        yield self.v6


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine stands: WGS-84 degrees, ISO 3166-1 alpha-2 country."""

    city: str
    country: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class AutonomousSystem:
    """One AS: a router in namespace `<name>-lab` that announces `prefixes` and answers at `addresses` itself.

    `rov_v4`/`rov_v6`: drops RPKI-invalid routes of that family (RFC 6811). `default_via`: keeps a static default
    route to that neighbour besides BGP. `roas`: its prefixes have ROAs with maxLength equal to their length.
    `invalid_prefixes` are announced too, but RPKI-invalid, so not reached from everywhere. `beacon_addresses`: where it
    answers as a beacon; sites of one anycast share them.
    """

    name: str
    asn: int
    operator: str
    place: Place
    prefixes: tuple[Prefix, ...]
    addresses: tuple[Address, ...] = ()
    rov_v4: bool = False
    rov_v6: bool = False
    default_via: str | None = None
    roas: bool = True
    invalid_prefixes: tuple[Prefix, ...] = ()
    beacon_addresses: tuple[Address, ...] = ()

    @property
    def namespace(self) -> str:
        return f"{self.name}-lab"

    @property
    def rov(self) -> bool:
        return self.rov_v4 or self.rov_v6


@dataclass(frozen=True, slots=True)
class Link:
    """A BGP adjacency by veth: `a` is the customer (or peer) of `b`; the role is RFC 9234's, seen from `a`."""

    a: str
    b: str
    role: Role


@dataclass(frozen=True, slots=True)
class Lan:
    """A small network behind the router of AS `router`; its one machine is in namespace `<host>-lab`.

    The machine's interface is `uplink0`, the router's is `lan0`; `host_address` is the machine's own.
    """

    router: str
    host: str
    prefix: Prefix
    gateway: Address
    host_address: Address

    @property
    def namespace(self) -> str:
        return f"{self.host}-lab"


@dataclass(frozen=True, slots=True)
class Egress:
    """What the appliance's configuration needs to know of one egress node; its namespace is `<code>-lab`."""

    code: str
    place: Place
    rir: str
    provider: str
    origin_asn: int
    upstream_asns: tuple[int, ...]
    address: Address
    gateway: Address
    endpoint_port: int

    @property
    def namespace(self) -> str:
        return f"{self.code}-lab"


@dataclass(frozen=True, slots=True)
class Primary:
    """The CA's site: the host's namespace, and the LAN addresses that are free for the primary perspective."""

    code: str
    namespace: str
    interface: str
    place: Place
    rir: str
    provider: str
    origin_asn: int
    upstream_asns: tuple[int, ...]
    lan: Prefix
    gateway: Address
    host_address: Address
    address: Address


@dataclass(frozen=True, slots=True)
class Anchor:
    """An echo server: answers `GET /` with the client's source address as text, by http and https."""

    name: str
    host: str
    system: str
    place: Place
    address: Address


@dataclass(frozen=True, slots=True)
class BeaconSite:
    """One answer of a beacon: the machine in AS `system` answers for `host` at `address`, and names itself `site`."""

    host: str
    system: str
    address: Address
    site: str


@dataclass(frozen=True, slots=True)
class Hijack:
    """A false announcement by the attacker, and whom it is known to capture when sent to `via`.

    `forged_origin`: the ASN put at the end of the path, so that the route is RPKI-valid; None: the attacker's own.
    `address` is attached to the attacker's machine. `captures`: codes of the perspectives that then reach it.
    """

    name: str
    victim: str
    prefix: Prefix
    address: Address
    forged_origin: int | None
    via: tuple[str, ...]
    captures: frozenset[str]
