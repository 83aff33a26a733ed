"""The way from a name towards the root to its relevant CAA RRset (RFC 8659 section 3)."""

from __future__ import annotations

from appliance.checks.context import CheckContext
from appliance.checks.records import ask
from appliance.net.dns.resolver import Reply
from appliance.net.trace import StepFailed, Trace

STEP = "dns.CAA"


class ClimbFailed(StepFailed):
    """The look-up at one label failed; `name` is that label's."""

    def __init__(self, name: str, cause: StepFailed) -> None:
        error = cause.error
        super().__init__(error.code, error.message, error.step, error.fault)
        self.name = name


async def climb(name: str, context: CheckContext, trace: Trace) -> tuple[tuple[bytes, ...], str | None]:
    """The CAA RRset nearest to `name` on the way to the root, which is not asked, and where it is; else none.

    The labels climbed are those of `name` itself: the resolver follows a CNAME, but its target's parents do not count.
    One question after the other, since the nearest decides: where it is found, none above it costs anything. Raises
    `ClimbFailed` at the first label whose question was not answered; see `ask_label`.
    """
    trace.enter(STEP)
    labels = name.split(".")
    for depth in range(len(labels)):
        asked = ".".join(labels[depth:])
        try:
            reply = await ask_label(asked, context, trace)
        except StepFailed as failed:
            raise ClimbFailed(asked, failed) from failed
        if reply.rrset:
            return reply.rrset, asked
    return (), None


async def ask_label(name: str, context: CheckContext, trace: Trace) -> Reply:
    """The answer to the question for CAA at one label of a climb. Raises `StepFailed`, also for a top-level domain that does not
    exist: a name in no public tree is not one without restrictions. No list of ours says which exist; the root does."""
    reply = await ask(name, "CAA", context, trace)
    if reply.lookup.rcode == "NXDOMAIN" and "." not in name:
        raise StepFailed("caa.no-such-tld", f"{name}: there is no such top-level domain", STEP)
    return reply
