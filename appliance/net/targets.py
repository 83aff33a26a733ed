"""From a name or a literal to the addresses that a check may contact, in the order in which it tries them."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.model.observation import CheckError, Connection, DnssecStatus
from appliance.net.dns.resolver import Asks, Reply
from appliance.net.special_purpose import IpNetwork, refused
from appliance.net.trace import StepFailed, Trace

STEP: Final = "addresses"
_MAX_REFUSALS_KEPT: Final = 4


class Target(msgspec.Struct, frozen=True):
    """Where to connect. `addresses`: at most one IPv6, then at most one IPv4. `refusals`: evidence of those refused."""

    port: int
    addresses: tuple[str, ...]
    refusals: tuple[Connection, ...]


async def find_target(
    host: str, *, is_address: bool, port: int, resolver: Asks, exceptions: tuple[IpNetwork, ...], trace: Trace
) -> Target:
    """Resolve `host` anew, unless it is an address, and leave out what is special-purpose (checks.md, "All checks").

    `addresses` may be empty where `refusals` is not. Raises `StepFailed` where the name has no address, where neither
    look-up was answered, or where either was bogus.
    """
    if is_address:
        candidates: list[str] = [host]
    else:
        trace.enter(STEP)
        candidates = await _resolve(host, resolver, trace)
    allowed: dict[bool, str] = {}
    refusals: list[Connection] = []
    for address in candidates:
        reason = refused(address, exceptions)
        if reason is None:
            allowed.setdefault(":" in address, address)
        elif len(refusals) < _MAX_REFUSALS_KEPT:
            error = CheckError("address.refused", reason, STEP)
            refusals.append(Connection(address[:64], port, connected=False, elapsed_us=0, error=error))
    return Target(port, tuple(allowed[six] for six in (True, False) if six in allowed), tuple(refusals))


async def _resolve(host: str, resolver: Asks, trace: Trace) -> list[str]:
    replies = await trace.addresses(resolver, host)
    for reply in replies:
        if reply.lookup.dnssec is DnssecStatus.BOGUS:
            raise StepFailed.of(reply.lookup.error, "dns.bogus", f"{host}: bogus", STEP)
    addresses = [text for reply in replies for text in _texts(reply)]
    if not addresses:
        error = next((reply.lookup.error for reply in replies if reply.lookup.error is not None), None)
        raise StepFailed.of(error, "dns.no-address", f"{host} has neither AAAA nor A records", STEP)
    return addresses


def _texts(reply: Reply) -> list[str]:
    return [record.data for record in reply.lookup.records]
