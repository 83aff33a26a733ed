"""Who originates the route to an address, by a dump of the global routing table. Pure.

The dump is in the form of the RIPE RIS whois dumps (`riswhoisdump.IPv4`, `riswhoisdump.IPv6`): a line for each origin of
each prefix, `origin<TAB>prefix<TAB>number of peers that see it`, the origin in digits or an AS_SET `{64496,64497}`; lines that
start with `%` are comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import chain, takewhile

# What fewer route collectors' peers see is a leak, a hijack in the making or a mistake; it is also RIPE's own threshold. Such a
# route proves no origin; that of another AS is still held against one.
LEAST_PEERS = 10
# An AS number has 32 bits (RFC 6793), so at most ten digits.
_MAX_DIGITS = 10
# RFC 7607: no AS has this number. It stands for an origin that is not a number, so that the route is not overlooked.
_UNKNOWN_ASN = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin AS of one prefix, and how many peers of the route collectors see it."""

    asn: int
    peers: int


Routes = Mapping[str, tuple[Origin, ...]]
"""Origins by prefix, in canonical text."""


@dataclass(frozen=True, slots=True)
class Match:
    """A route to an address, with every origin AS of its prefix."""

    prefix: str
    origins: tuple[Origin, ...]


# The addresses of a fleet are asked for again and again, and their prefixes never change.
@lru_cache(maxsize=1024)
def covering_prefixes(address: str) -> tuple[str, ...]:
    """Every prefix that contains `address`, the most specific first, in canonical text."""
    parsed = ip_address(address)
    return tuple(str(ip_network((parsed, length), strict=False)) for length in range(parsed.max_prefixlen, -1, -1))


def routes_to(addresses: Iterable[str], lines: Iterable[str]) -> Routes:
    """The routes among `lines` that lead to any of `addresses`; lines that are none are passed over."""
    wanted = set(chain.from_iterable(map(covering_prefixes, addresses)))
    found: dict[str, dict[Origin, None]] = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and fields[1] in wanted and (peers := _number(fields[2])) is not None:
            asns = (_number(text) for text in fields[0].strip("{}").split(","))
            origins = (Origin(_UNKNOWN_ASN if asn is None else asn, peers) for asn in asns)
            # A dictionary, since a file may repeat itself without end.
            found.setdefault(fields[1], {}).update(dict.fromkeys(origins))
    return {prefix: tuple(origins) for prefix, origins in found.items()}


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def longest_match(address: str, routes: Routes) -> Match | None:
    """Return the most specific route to `address` with an origin that enough peers see; None if there is none.

    Origins of its prefix that fewer peers see are among its `origins`.
    """
    for prefix in covering_prefixes(address):
        origins = routes.get(prefix, ())
        if any(origin.peers >= LEAST_PEERS for origin in origins):
            return Match(prefix, origins)
    return None


def more_specifics(address: str, prefix: str, routes: Routes) -> tuple[Match, ...]:
    """Return the routes to `address` that are more specific than `prefix`, the most specific first."""
    within = takewhile(lambda covering: covering != prefix, covering_prefixes(address))
    return tuple(Match(covering, routes[covering]) for covering in within if covering in routes)
