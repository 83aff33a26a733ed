"""Which addresses a check must not contact. Asked before any packet, for every address from a name or a literal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final

from appliance.net.special_purpose_registry import NEVER_EXCEPTED, NOT_GLOBAL_UNICAST, SPECIAL_PURPOSE

IpNetwork = IPv4Network | IPv6Network
_Range = tuple[int, int, str, bool]


def _ranges(version: int) -> tuple[_Range, ...]:
    rows = [
        (ip_network(text), reason, excusable)
        for table, excusable in ((NEVER_EXCEPTED, False), (SPECIAL_PURPOSE, True), (NOT_GLOBAL_UNICAST, True))
        for text, reason in table
    ]
    return tuple(
        (int(network.network_address), int(network.broadcast_address), reason, excusable)
        for network, reason, excusable in rows
        if network.version == version
    )


_RANGES: Final = {4: _ranges(4), 6: _ranges(6)}


def refused(address: str, exceptions: Sequence[IpNetwork] = ()) -> str | None:
    """Why `address` must not be contacted, or None where it may be. What is no canonical address is refused too.

    `exceptions`: configured networks that may be contacted although special-purpose; they open neither loopback of
    IPv6 nor any form that embeds or relays an IPv4 address.
    """
    return _refused(address, tuple(exceptions))


@lru_cache(maxsize=4096)
def _refused(address: str, exceptions: tuple[IpNetwork, ...]) -> str | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address[:64]!r} is not an IP address"
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        return f"{address[:64]} has a zone"
    number = int(parsed)
    for first, last, reason, excusable in _RANGES[parsed.version]:
        if first <= number <= last:
            if excusable and _excused(parsed, exceptions):
                return None
            return f"{address} is special-purpose: {reason}"
    return None


def _excused(address: IPv4Address | IPv6Address, exceptions: tuple[IpNetwork, ...]) -> bool:
    return any(address.version == network.version and address in network for network in exceptions)


def special_purpose_networks(exceptions: Iterable[IpNetwork] = ()) -> list[IpNetwork]:
    """Every refused network, less the exceptions, as few as possible: for unbound's `do-not-query-address`."""
    fixed = [ip_network(text) for text, _ in NEVER_EXCEPTED]
    excusable = [ip_network(text) for table in (SPECIAL_PURPOSE, NOT_GLOBAL_UNICAST) for text, _ in table]
    for exception in exceptions:
        excusable = [rest for network in excusable for rest in _without(network, exception)]
    everything = fixed + excusable
    return [
        *collapse_addresses(n for n in everything if isinstance(n, IPv4Network)),
        *collapse_addresses(n for n in everything if isinstance(n, IPv6Network)),
    ]


def _without(network: IpNetwork, exception: IpNetwork) -> list[IpNetwork]:
    if network.version != exception.version or not network.overlaps(exception):
        return [network]
    if network.subnet_of(exception):  # type: ignore[arg-type]  # of one version, as tested above
        return []
    return list(network.address_exclude(exception))  # type: ignore[arg-type]
