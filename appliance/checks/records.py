"""The records of a name, as checks read them: CNAME chains held to the rules, unreadable records passed over."""

from __future__ import annotations

from appliance.checks.context import CheckContext
from appliance.checks.found import Mismatched
from appliance.net.dns.names import Malformed
from appliance.net.dns.rdata import character_strings
from appliance.net.dns.resolver import Reply
from appliance.net.trace import StepFailed, Trace
from appliance.policy.delegation import too_long, wrong_target


async def ask(name: str, rdtype: str, context: CheckContext, trace: Trace) -> Reply:
    """The answer to one question. Raises `StepFailed` where there is none, or where its chain is longer than is allowed."""
    reply = await trace.query(context.resolver, name, rdtype)
    if reply.lookup.error is not None:
        raise StepFailed.of(reply.lookup.error, "", "", "")
    if reply.lookup.chain:
        problem = too_long(_targets(reply), context.delegation)
        if problem is not None:
            raise StepFailed("dns.chain.too-long", f"{name} {rdtype}: {problem}", f"dns.{rdtype}")
    return reply


async def rrset(
    name: str, rdtype: str, context: CheckContext, trace: Trace, target: str | None = None
) -> tuple[bytes, ...]:
    """The RDATA at `name`, or at the end of its CNAME chain; empty where there is none.

    `target`: where a chain into a zone of the CA's must end. Raises as `ask` does, and `Mismatched` where it ends elsewhere.
    """
    trace.enter(f"dns.{rdtype}")
    reply = await ask(name, rdtype, context, trace)
    problem = wrong_target(_targets(reply), context.delegation, target)
    if problem is not None:
        raise Mismatched("dns.delegation", f"{name} {rdtype}: {problem}", f"dns.{rdtype}")
    return reply.rrset


async def txt_values(name: str, context: CheckContext, trace: Trace, target: str | None = None) -> list[bytes]:
    """The values of the TXT RRset: strings of one record joined without separator, as ACME and RFC 7208 section 3.3 do.

    A record that does not parse is left out, so that it spoils no other. Raises as `rrset` does.
    """
    values = []
    for rdata in await rrset(name, "TXT", context, trace, target):
        try:
            values.append(b"".join(character_strings(rdata)))
        except Malformed:
            continue
    return values


def _targets(reply: Reply) -> list[str]:
    return [link.data for link in reply.lookup.chain]
