"""The address plan: 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 (RFC 3849) alone, so that nothing could leak.

Network number n is 198.18.n.0/24 and 2001:db8:n::/48 (n written alike in both); links are numbered from
198.19.0.0/16 and 2001:db8:ffff::/48 and are not announced.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.lab.model import Address, Prefix


def network(number: int) -> Prefix:
    """Network `number` (0-99)."""
    return Prefix(IPv4Network(f"198.18.{number}.0/24"), IPv6Network(f"2001:db8:{number}::/48"))


def double_network(number: int) -> Prefix:
    """Networks `number` and `number` + 1 as one prefix; `number` is even and ends in an even digit."""
    return Prefix(IPv4Network(f"198.18.{number}.0/23"), IPv6Network(f"2001:db8:{number}::/47"))


def host(number: int, machine: int) -> Address:
    """Machine `machine` (1-99) of network `number`."""
    return Address(IPv4Address(f"198.18.{number}.{machine}"), IPv6Address(f"2001:db8:{number}::{machine}"))


def link_ends(index: int) -> tuple[Address, Address]:
    """The two ends of point-to-point link `index`: a /30 and a /64."""
    v4 = IPv4Address("198.19.0.0") + 4 * index
    v6 = f"2001:db8:ffff:{index:x}::"
    return Address(v4 + 1, IPv6Address(f"{v6}1")), Address(v4 + 2, IPv6Address(f"{v6}2"))


LINK_PREFIX_LENGTHS = (30, 64)
LAN_PREFIX_LENGTHS = (24, 64)
