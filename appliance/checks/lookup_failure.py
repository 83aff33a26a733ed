"""When a failed CAA look-up may be permission: the three conditions of BR 3.2.2.8, each shown in the evidence."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import Final

from appliance.checks.climb import ClimbFailed
from appliance.checks.context import CheckContext
from appliance.errors import ApplianceError
from appliance.model.observation import Fault, LookupFailure
from appliance.net.trace import Trace

# What may be a look-up that failed: no answer, or the resolver's word that it got none. All else is an answer that it got and
# we did not take (a chain that is too long, too many records), or a failure of its own; neither is ever permission.
_FAILED: Final = frozenset({"dns.timeout", "dns.servfail"})
_BOTH: Final = frozenset({4, 6})


class FailedTwice(ApplianceError):
    """The CAA look-up at `name` failed, and so did the retry. `anew`: the resolver had forgotten the first failure."""

    def __init__(self, failed: ClimbFailed, *, anew: bool) -> None:
        super().__init__(str(failed))
        self.name = failed.name
        self.error = failed.error
        self.anew = anew


async def examine(failed: FailedTwice, context: CheckContext, trace: Trace) -> LookupFailure:
    """Whether the failure was retried, is outside the CA's infrastructure, and is of an Insecure domain.

    A bogus answer, and a failure of the perspective's own, never permits.
    """
    if failed.error.code == "dns.bogus":
        return LookupFailure(failed.name, failed.anew, None, False, "the answer was bogus, which is never permission")
    if failed.error.fault is not Fault.TARGET or failed.error.code not in _FAILED:
        return LookupFailure(
            failed.name,
            failed.anew,
            None,
            False,
            "what came back is no failed look-up, or it may be the perspective's own",
        )
    trace.enter("caa.lookup-failure")
    (zone_cut, insecure), outside = await asyncio.gather(
        prove_insecure(failed.name, context, trace), _doubt_outside(context, trace)
    )
    cached = None if failed.anew else "the retry may have been answered from the resolver's cache"
    missing = [reason for reason in (cached, insecure, outside) if reason is not None]
    reason = "; ".join(missing) or f"retried, Insecure below {zone_cut}, and outside of the CA's infrastructure"
    return LookupFailure(failed.name, failed.anew, zone_cut, outside is None, reason)


async def prove_insecure(name: str, context: CheckContext, trace: Trace) -> tuple[str | None, str | None]:
    """The zone cut at or above `name` where the resolver authenticated that there is no DS record, or why there is none.

    From the top-level domain down: each delegation on the way is secure until the one that has no DS (RFC 4035 section
    4.3, "Insecure"). What the resolver did not authenticate (AD) proves nothing; that includes NSEC3 opt-out (RFC 5155
    section 9.2).
    """
    labels = name.split(".")
    for depth in range(len(labels) - 1, -1, -1):
        asked = ".".join(labels[depth:])
        reply = await context.resolver.delegation(asked)
        trace.lookup(reply.lookup, needed=False)
        if reply.denied:
            return asked, None
        if reply.lookup.error is not None:
            return None, f"the DS look-up at {asked} failed"
        if not reply.lookup.ad:
            return None, f"whether {asked} has a DS record was not authenticated"
    return None, "no zone cut without a DS record was found"


async def _doubt_outside(context: CheckContext, trace: Trace) -> str | None:
    """Why the failure may be inside, or None: the perspective's proofs hold, and a control look-up was answered.

    The control asks the root for a name that nobody has asked for before, so that no cache can answer it.
    """
    if context.versions != _BOTH:
        # A name server that answers over the other one alone has not failed.
        return "name servers are not reached over both IPv4 and IPv6 from here"
    doubts = context.doubts()
    if doubts:
        return "; ".join(doubts[:4])
    reply = await trace.query(context.resolver, f"mpic-{token_hex(8)}", "A", needed=False)
    return None if reply.lookup.error is None else "the control look-up failed too"
