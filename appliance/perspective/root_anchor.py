"""Whether the resolver holds the root's keys for genuine: without that it validates nothing (RFC 4035 section 5)."""

from __future__ import annotations

from appliance.model.observation import DnssecStatus, Lookup
from appliance.net.dns.resolver import Asks

ROOT = "."


async def root_anchor_problem(asks: Asks, before: str | None) -> str | None:
    """Asks for the root's keys; why they do not validate, None where they do. No answer tells nothing: then `before`."""
    lookup = (await asks.query(ROOT, "DNSKEY")).lookup
    return verdict(lookup, before)


def verdict(lookup: Lookup, before: str | None) -> str | None:
    """See `root_anchor_problem`."""
    match lookup.dnssec:
        case DnssecStatus.SECURE:
            return None
        case DnssecStatus.BOGUS:
            return f"resolver: the root's keys do not match its trust anchor{_why(lookup)}"
        case DnssecStatus.INSECURE:
            return "resolver: it has no trust anchor for the root"
        case _:
            return before


def _why(lookup: Lookup) -> str:
    return "" if lookup.error is None else f" ({lookup.error.message})"
