"""When a failed CAA look-up may be permission (BR 3.2.2.8): a failure that the zone's own servers show, twice, and its proofs.

A SERVFAIL of the perspective's own resolver shows nothing: it says the same of its own limits, and of what it was told not to
ask. So the worker follows the CNAMEs, finds the servers of the zone at their end, and asks each of them itself in two rounds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import Final

import msgspec

from appliance.checks.context import CheckContext
from appliance.checks.zone_servers import (
    NotShown,
    ZoneServers,
    ask_server,
    end_of_chain,
    find_servers,
    open_questions,
    tasks_of,
)
from appliance.model.observation import CheckError, LookupFailure, ServerAsked, ServerSaid
from appliance.net.dns.authoritative import Question
from appliance.net.dns.message import Response
from appliance.net.dns.rdata import TYPES
from appliance.net.trace import Trace
from appliance.policy.lookup_failure import ROUNDS, Permits, cause_of, judge

_BOTH: Final = frozenset({4, 6})
# Between the rounds. The second is without EDNS: a server, or what stands before it, that fails for EDNS alone answers then.
_BETWEEN_ROUNDS_S: Final = 0.5
# What is left of the check's time when it has to be known: for the answer's own way.
_MARGIN_S: Final = 0.4
_MARGIN_SHARE: Final = 0.1
# Steps that follow one another end this much apart, so that the last of them still has what those before it saw.
_LAST_WORD_S: Final = 0.05
# Labels of one name whose failure is looked into; the others refuse.
MAX_LABELS: Final = 4
_FINAL: Final = frozenset({ServerSaid.ANSWER, ServerSaid.REFERRAL, ServerSaid.ODD})


class _Asked(msgspec.Struct):
    """One question of the rounds under way."""

    number: int
    address: str
    rdtype: str
    question: Question

    def frozen(self, began_ns: int) -> ServerAsked:
        """As evidence, by what came of it so far."""
        said, sent_ns = self.question.said, self.question.sent_ns
        waited_us = (time.monotonic_ns() - sent_ns) // 1000
        return ServerAsked(
            self.number,
            self.address,
            self.rdtype,
            ServerSaid.SILENT if said is None else _said(self.rdtype, said.said, said.response),
            "" if said is None else said.rcode,
            (sent_ns - began_ns) // 1000,
            waited_us if said is None else said.elapsed_us,
        )


class Examiner:
    """Looks into the failed look-ups of one check; what is the same for all its labels is found out once."""

    def __init__(self, context: CheckContext, trace: Trace) -> None:
        self._context = context
        self._trace = trace
        self._examined = 0
        self._outside: asyncio.Task[str | None] | None = None

    @property
    def left_s(self) -> float:
        """Seconds until an examination has to end."""
        return self._until_s(1.0)

    @property
    def wait_s(self) -> float:
        """Seconds until it is waited for no longer."""
        return self._until_s(0.5)

    def _until_s(self, margins: float) -> float:
        margin_s = min(_MARGIN_S, self._trace.deadline_s * _MARGIN_SHARE)
        return self._trace.deadline_s - margins * margin_s - self._trace.elapsed_us / 1e6

    async def examine(self, name: str, error: CheckError | None) -> LookupFailure:
        """Whether the failure at `name` may be permission. `error`: what the resolver said, None where nothing yet.

        Ends within what is left of the check's time.
        """
        cause = cause_of("dns.timeout" if error is None else error.code)
        if cause.permits is not Permits.IF_SHOWN:
            return _refusal(name, cause.code)
        self._examined += 1
        if self._examined > MAX_LABELS:
            return _refusal(name, "caa.too-many-failures")
        if self._outside is None:
            self._outside = asyncio.create_task(_doubt_outside(self._context, self._trace))
        failure = _refusal(name, "caa.deadline")
        try:
            async with asyncio.timeout(self.left_s):
                chain = await end_of_chain(name, self._context, self._trace)
                failure = msgspec.structs.replace(failure, chain=chain)
                return await self._shown(failure, (name, *chain))
        except NotShown as problem:
            return _refusal(name, problem.code, problem.detail, failure.chain)
        except TimeoutError:
            return failure

    def late(self, name: str) -> LookupFailure:
        """The refusal where the time is over."""
        return _refusal(name, "caa.deadline")

    async def close(self) -> None:
        """End what is under way."""
        if self._outside is not None:
            self._outside.cancel()
            await asyncio.gather(self._outside, return_exceptions=True)

    async def _shown(self, failure: LookupFailure, names: Sequence[str]) -> LookupFailure:
        assert self._outside is not None  # noqa: S101 -- made by `examine`
        proofs = [prove_insecure(name, self._context, self._trace) for name in names]
        async with tasks_of([self._ask_servers(names[-1]), *proofs]) as (servers, *proving):
            zone, asked, code = await servers
            failure = msgspec.structs.replace(failure, zone=zone.zone, servers=asked)
            cause = cause_of(code)
            if cause.permits is not Permits.YES:
                return _because(failure, code, cause.text)
            await asyncio.wait(proving, timeout=max(0.0, self.left_s - _LAST_WORD_S))
            proven = [task.result() if task.done() else (None, "the DS look-ups took too long") for task in proving]
        missing = next((reason for _, reason in proven if reason is not None), None)
        if missing is not None:
            return _because(failure, "caa.not-insecure", missing)
        doubt = await self._outside or "; ".join(self._context.doubts()[:4])
        if doubt:
            failure = msgspec.structs.replace(failure, insecure_zone_cut=proven[-1][0])
            return _because(failure, "caa.not-outside", doubt)
        cut = proven[-1][0]
        reason = f"{cause.text}; Insecure below {cut}, and outside of the CA's infrastructure"
        return msgspec.structs.replace(
            failure, retried=True, insecure_zone_cut=cut, outside=True, reason=reason, cause=code
        )

    async def _ask_servers(self, name: str) -> tuple[ZoneServers, tuple[ServerAsked, ...], str]:
        """The zone's servers, all questions to them, and the cause that these show."""
        zone = await find_servers(name, self._context, self._trace)
        async with open_questions() as questions:
            asked: list[_Asked] = []
            for number in ROUNDS:
                for address in zone.addresses:
                    for rdtype, about in (("CAA", name), ("SOA", zone.zone)):
                        question = ask_server(self._context, address, about, rdtype, edns=number == ROUNDS[0])
                        questions.append(question)
                        asked.append(_Asked(number, address, rdtype, question))
                await self._listen(asked, _BETWEEN_ROUNDS_S if number == ROUNDS[0] else self.left_s - 2 * _LAST_WORD_S)
            frozen = tuple([one.frozen(self._trace.began_ns) for one in asked])
        return zone, frozen, judge(frozen, zone.addresses, int(self._context.silence_s * 1e6))

    async def _listen(self, asked: Sequence[_Asked], limit_s: float) -> None:
        """For so long; in the last round less where all have answered the question for CAA, or one has what decides."""
        last = asked[-1].number == ROUNDS[-1]
        caa = [one.question for one in asked if one.rdtype == "CAA"]
        async with tasks_of([_heard(caa, all_of_them=last)]) as tasks:
            await asyncio.wait(tasks, timeout=max(0.0, limit_s))


async def _heard(questions: Iterable[Question], *, all_of_them: bool) -> None:
    """Return once one has said what no other can outweigh, or, if asked for, once all have said something."""
    left = list(questions)
    while True:
        said = [question.said for question in left]
        if any(one is not None and one.said in _FINAL for one in said):
            return
        if all_of_them and all(one is not None for one in said):
            return
        async with tasks_of([question.changed() for question in left]) as tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def _said(rdtype: str, said: ServerSaid, response: Response | None) -> ServerSaid:
    """An answer about SOA shows that a server is there only if it is one with authority, of what a zone says of itself."""
    if rdtype != "SOA" or said is not ServerSaid.ANSWER or response is None:
        return said
    records = (*response.rrset, *(one for one in response.authority if one.rdtype == TYPES["SOA"]))
    return ServerSaid.ANSWER if response.aa and records and not response.chain else ServerSaid.ODD


def _refusal(name: str, code: str, detail: str = "", chain: tuple[str, ...] = ()) -> LookupFailure:
    reason = cause_of(code).text + (f": {detail}" if detail else "")
    return LookupFailure(name, False, None, False, f"{reason}, which is never permission", code, chain)


def _because(failure: LookupFailure, code: str, detail: str) -> LookupFailure:
    return msgspec.structs.replace(failure, reason=detail, cause=code)


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
    return None, f"no zone cut without a DS record was found at or above {name}"


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
