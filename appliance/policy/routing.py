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
from itertools import chain

# What fewer route collectors' peers see is a leak, a hijack in the making or a mistake; it is also RIPE's own threshold.
LEAST_PEERS = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin AS of one prefix, and how many peers of the route collectors see it."""

    asn: int
    peers: int


Routes = Mapping[str, tuple[Origin, ...]]
"""Origins by prefix, in canonical text."""


@dataclass(frozen=True, slots=True)
class Match:
    """The most specific route to an address."""

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
    found: dict[str, tuple[Origin, ...]] = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and fields[1] in wanted and fields[2].isdecimal():
            asns = [text for text in fields[0].strip("{}").split(",") if text.isdecimal()]
            origins = tuple(Origin(int(text), int(fields[2])) for text in asns)
            found[fields[1]] = found.get(fields[1], ()) + origins
    return found


def longest_match(address: str, routes: Routes) -> Match | None:
    """The most specific route to `address` that enough peers see; None where there is none."""
    for prefix in covering_prefixes(address):
        origins = tuple(origin for origin in routes.get(prefix, ()) if origin.peers >= LEAST_PEERS)
        if origins:
            return Match(prefix, origins)
    return None
