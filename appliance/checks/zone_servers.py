"""The way to the name servers of the zone that a name is in: a bounded walk of referrals from the closest zone that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from appliance.checks.context import CheckContext
from appliance.errors import ApplianceError
from appliance.model.observation import ServerSaid
from appliance.net.dns.authoritative import Question
from appliance.net.dns.message import Response, Rr
from appliance.net.dns.names import BadName, Malformed, name_to_text, name_to_wire, read_name
from appliance.net.dns.rdata import TYPES, presentation
from appliance.net.dns.resolver import Reply
from appliance.net.trace import Trace

# As many as the root has, which is what fits into a response over UDP.
MAX_SERVERS: Final = 13
MAX_ADDRESSES: Final = 2 * MAX_SERVERS
MAX_STEPS: Final = 8
# Zones whose servers are looked for by the resolver: from the top-level domain down; the walk finds those below.
MAX_LABELS: Final = 8
# Servers and addresses of a zone on the way that are asked where to go on.
_ASKED_FOR_THE_WAY: Final = 4
# Seconds: for a CNAME; for all zones above the name; for addresses, and for more of them; for a referral, and for more.
_CNAME_S: Final = 0.8
_ZONES_S: Final = 0.6
_ADDRESSES_S: Final = 1.0
_MORE_ADDRESSES_S: Final = 0.4
_REFERRAL_S: Final = 1.0
_MORE_REFERRALS_S: Final = 0.2
_NS: Final = TYPES["NS"]


class NotShown(ApplianceError):
    """The failure cannot be shown; `code`: the row of the table of causes. `detail`: what it was about, or ""."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code if not detail else f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ZoneServers(msgspec.Struct, frozen=True):
    """A zone, and all addresses of all of its name servers."""

    zone: str
    addresses: tuple[str, ...]


class _Delegation(msgspec.Struct):
    """A zone with its servers by name; `glue` has addresses of those whose names are in the zone itself."""

    zone: str
    servers: set[str]
    glue: dict[str, set[str]]


async def end_of_chain(name: str, context: CheckContext, trace: Trace) -> tuple[str, ...]:
    """The targets of the CNAMEs from `name` on, asked for one by one, so that no limit of the resolver's ends the chain.

    It ends where no CNAME is found in time, which need not be true: who is asked directly then answers with it. Raises
    `NotShown` where it is longer than configured, a loop, or leads to what is no name.
    """
    targets: list[str] = []
    while True:
        reply = await _in_time(trace.query(context.resolver, (targets or [name])[-1], "CNAME", needed=False), _CNAME_S)
        if reply is None or reply.lookup.error is not None or not reply.rrset:
            return tuple(targets)
        target = _name(reply.rrset[0])
        if target == name or target in targets:
            raise NotShown("caa.chain-loop", target)
        targets.append(target)
        if len(targets) > context.delegation.max_chain:
            raise NotShown("caa.chain-too-long", f"more than {context.delegation.max_chain} CNAMEs from {name}")


async def find_servers(name: str, context: CheckContext, trace: Trace) -> ZoneServers:
    """The zone that `name` is in as those above it tell, and what the zone says itself. Raises `NotShown`."""
    known = await _zones_above(name, context, trace)
    # Where the zone's own servers tell who they are, its parent is asked all the same: both sets have to fail.
    by_depth = [known[zone] for zone in sorted(known, key=_depth)]
    nearest = by_depth[-1]
    here = by_depth[-2] if len(by_depth) > 1 else nearest
    for _ in range(MAX_STEPS):
        below = await _referral(here.zone, name, await _some_of(here, context, trace), context)
        if below is None and _depth(here.zone) >= _depth(nearest.zone):
            return await _all_of(here, context, trace)
        if below is None:
            # Those above do not refer, as where they serve the zone below as well: then they have to fail with its own.
            below = _Delegation(nearest.zone, nearest.servers | here.servers, here.glue)
        elif below.zone in known:
            below.servers |= known[below.zone].servers
        here = below
    raise NotShown("caa.walk-too-long", f"more than {MAX_STEPS}")


async def _zones_above(name: str, context: CheckContext, trace: Trace) -> dict[str, _Delegation]:
    """The zones at and above the name whose servers the resolver knows within a moment; at least one."""
    labels = name.split(".")
    names = [".".join(labels[depth:]) for depth in range(len(labels))][-MAX_LABELS:]
    async with tasks_of([trace.query(context.resolver, one, "NS", needed=False) for one in names]) as tasks:
        await asyncio.wait(tasks, timeout=_ZONES_S)
        found = _with_servers(names, tasks)
        if not found:
            await asyncio.wait(tasks, timeout=_ADDRESSES_S)
            found = _with_servers(names, tasks)
    if not found:
        raise NotShown("caa.no-zone", name)
    return found


def _with_servers(names: Sequence[str], tasks: Sequence[asyncio.Task[Reply]]) -> dict[str, _Delegation]:
    found = {}
    for zone, task in zip(names, tasks, strict=True):
        reply = task.result() if task.done() else None
        if reply is not None and reply.lookup.error is None and reply.rrset and not reply.lookup.chain:
            found[zone] = _Delegation(zone, {_name(rdata) for rdata in reply.rrset}, {})
    return found


async def _referral(zone: str, name: str, addresses: Sequence[str], context: CheckContext) -> _Delegation | None:
    """Where the servers of `zone` refer to on the way to `name`: all that they say of the zone nearest; None where nowhere."""
    if not addresses:
        return None
    async with open_questions() as questions:
        for address in addresses:
            questions.append(ask_server(context, address, name, "SOA", edns=True))
        await _until_referred(questions)
        said = [question.said for question in questions]
    responses = [one.response for one in said if one is not None and one.said is ServerSaid.REFERRAL and one.response]
    delegations = [_delegation(response) for response in responses]
    good = [one for one in delegations if _leads(zone, one.zone, name)]
    if not good:
        if delegations:
            raise NotShown("caa.bad-referral", f"from {zone} to {delegations[0].zone}")
        return None
    nearest = min(good, key=lambda one: _depth(one.zone))
    for other in good:
        if other.zone == nearest.zone:
            nearest.servers |= other.servers
            for server, own in other.glue.items():
                nearest.glue.setdefault(server, set()).update(own)
    return nearest


async def _until_referred(questions: Sequence[Question]) -> None:
    """Until all have answered, or a moment after the first real answer, or for `_REFERRAL_S`."""
    async with tasks_of([question.changed() for question in questions]) as tasks:
        done, waiting = await asyncio.wait(tasks, timeout=_REFERRAL_S, return_when=asyncio.FIRST_COMPLETED)
        if done and waiting:
            await asyncio.wait(waiting, timeout=_MORE_REFERRALS_S if _real(questions) else _REFERRAL_S)


def _real(questions: Iterable[Question]) -> bool:
    return any(
        question.said is not None and question.said.said in {ServerSaid.ANSWER, ServerSaid.REFERRAL}
        for question in questions
    )


def _delegation(response: Response) -> _Delegation:
    """That of the first NS record; glue counts where the server's name is in the zone itself, and else is looked up."""
    records = [record for record in response.authority if record.rdtype == _NS]
    zone = _name(records[0].owner)
    servers = {_name(record.rdata) for record in records if _name(record.owner) == zone}
    glue: dict[str, set[str]] = {}
    for record in response.additional:
        if record.rdtype in {TYPES["A"], TYPES["AAAA"]}:
            owner = _owner(record)
            if owner in servers and _within(owner, zone):
                glue.setdefault(owner, set()).add(presentation(record.rdtype, record.rdata))
    return _Delegation(zone, servers, glue)


async def _all_of(delegation: _Delegation, context: CheckContext, trace: Trace) -> ZoneServers:
    """Every address of every server. Raises `NotShown` where there is one that is not known, or must not be contacted."""
    servers = sorted(delegation.servers)
    if len(servers) > MAX_SERVERS:
        raise NotShown("caa.too-many-servers", f"{delegation.zone} has {len(servers)}")
    # Beside the parent's glue, what the zone itself says of its servers counts where it is known within a moment.
    limit_s = _MORE_ADDRESSES_S if delegation.glue.keys() >= delegation.servers else _ADDRESSES_S
    found, complete = await _look_up(servers, context, trace, limit_s)
    for server, own in delegation.glue.items():
        found[server] |= own
    for server in servers:
        if not found[server] or (server not in complete and server not in delegation.glue):
            raise NotShown("caa.server-without-address", server)
    addresses = sorted({address for own in found.values() for address in own})
    if len(addresses) > MAX_ADDRESSES:
        raise NotShown("caa.too-many-servers", f"{delegation.zone} has {len(addresses)} addresses of them")
    for address in addresses:
        problem = context.servers.refused(address)
        if problem is not None:
            raise NotShown("caa.server-special-purpose", problem)
    return ZoneServers(delegation.zone, tuple(addresses))


async def _some_of(delegation: _Delegation, context: CheckContext, trace: Trace) -> list[str]:
    """Addresses of some servers, to be asked where the way goes on; none that must not be contacted."""
    servers = sorted(delegation.servers)[:_ASKED_FOR_THE_WAY]
    unknown = [server for server in servers if server not in delegation.glue]
    found, _ = await _look_up(unknown, context, trace, _ADDRESSES_S)
    addresses = {address for own in (*found.values(), *delegation.glue.values()) for address in own}
    return [address for address in sorted(addresses) if context.servers.refused(address) is None][:_ASKED_FOR_THE_WAY]


async def _look_up(
    servers: Sequence[str], context: CheckContext, trace: Trace, limit_s: float
) -> tuple[dict[str, set[str]], set[str]]:
    """The addresses of these by the resolver, and those of which both AAAA and A were answered."""
    found: dict[str, set[str]] = {server: set() for server in servers}
    complete = set(servers)
    asked = [(server, rdtype) for server in servers for rdtype in ("AAAA", "A")]
    looks = [trace.query(context.resolver, server, rdtype, needed=False) for server, rdtype in asked]
    async with tasks_of(looks) as tasks:
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)
        for (server, rdtype), task in zip(asked, tasks, strict=True):
            reply = task.result() if task.done() else None
            if reply is None or reply.lookup.error is not None:
                complete.discard(server)
            else:
                found[server] |= {presentation(TYPES[rdtype], rdata) for rdata in reply.rrset}
    return found, complete


def _leads(zone: str, below: str, name: str) -> bool:
    """Whether a referral from `zone` to `below` comes nearer to `name`: neither upwards, nor sideways, nor to itself."""
    return below != zone and _within(below, zone) and _within(name, below)


def _within(name: str, zone: str) -> bool:
    return zone in {".", name} or name.endswith("." + zone)


def _depth(zone: str) -> int:
    return 0 if zone == "." else zone.count(".") + 1


def _owner(record: Rr) -> str:
    return name_to_text(record.owner).lower()


def _name(wire: bytes) -> str:
    """A name out of a record, in lower case. Raises `NotShown` where it is one that nobody can be asked for."""
    try:
        text = name_to_text(read_name(wire, 0)[0]).lower()
        name_to_wire(text)
    except (BadName, Malformed) as error:
        raise NotShown("dns.name", str(error)) from error
    return text


async def _in_time(asking: Any, limit_s: float) -> Reply | None:
    try:
        async with asyncio.timeout(limit_s):
            reply: Reply = await asking
            return reply
    except TimeoutError:
        return None


@asynccontextmanager
async def tasks_of(asking: Sequence[Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """So many tasks, none of which is left afterwards."""
    tasks = [asyncio.ensure_future(one) for one in asking]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def ask_server(context: CheckContext, address: str, name: str, rdtype: str, *, edns: bool) -> Question:
    """As `AsksServers.ask`. Raises `NotShown` where no socket is to be had."""
    try:
        return context.servers.ask(address, name, rdtype, edns=edns)
    except OSError as error:
        raise NotShown("caa.busy", str(error)) from error


@asynccontextmanager
async def open_questions() -> AsyncIterator[list[Question]]:
    """A list of questions, each of which is closed afterwards."""
    questions: list[Question] = []
    try:
        yield questions
    finally:
        for question in questions:
            question.close()
