"""Networks that nothing is forwarded to.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as updated to 2025-10), every block that is not
globally reachable; multicast; and blocks that lead elsewhere than they say: NAT64, 6to4, Teredo, IPv4-mapped. IPv6
outside 2000::/3 is not global unicast (RFC 4291 section 2.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from egress.config import IpNetwork

IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "::/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "4000::/2",
        "8000::/1",
    )
)


def refused_ipv4(exceptions: Iterable[IpNetwork] = ()) -> list[IPv4Network]:
    """What is refused of IPv4, less the exceptions; sorted, none overlapping."""
    rest = list(IPV4)
    for exception in exceptions:
        if isinstance(exception, IPv4Network):
            rest = [part for network in rest for part in _without4(network, exception)]
    return sorted(collapse_addresses(rest))


def refused_ipv6(exceptions: Iterable[IpNetwork] = ()) -> list[IPv6Network]:
    """What is refused of IPv6, less the exceptions; sorted, none overlapping."""
    rest = list(IPV6)
    for exception in exceptions:
        if isinstance(exception, IPv6Network):
            rest = [part for network in rest for part in _without6(network, exception)]
    return sorted(collapse_addresses(rest))


def _without4(network: IPv4Network, exception: IPv4Network) -> list[IPv4Network]:
    if not network.overlaps(exception):
        return [network]
    return [] if network.subnet_of(exception) else list(network.address_exclude(exception))


def _without6(network: IPv6Network, exception: IPv6Network) -> list[IPv6Network]:
    if not network.overlaps(exception):
        return [network]
    return [] if network.subnet_of(exception) else list(network.address_exclude(exception))
