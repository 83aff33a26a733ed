"""Permission by failure: only one that the zone's own servers show twice, with the proof of Insecure, outside (BR 3.2.2.8)."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from appliance.checks import lookup_failure, zone_servers
from appliance.checks.context import CheckContext
from appliance.checks.run import run
from appliance.model.check import CaaCheck, CertificateType
from appliance.model.observation import (
    CheckError,
    DnssecStatus,
    Fault,
    LookupFailure,
    Observation,
    Outcome,
    Record,
    ServerSaid,
)
from appliance.net.dns.authoritative import Said
from appliance.net.dns.resolver import RESOLVER_HUNG_UP, Reply
from appliance.policy.delegation import DelegationRules
from tests.unit.checks.help import Table, context, name, request
from tests.unit.checks.servers import (
    CHILD_4,
    PARENT,
    TREE,
    FakeServers,
    Script,
    answer,
    dropping,
    error,
    failing,
    referral,
)
from tests.unit.net.web import FakeResolver

ASKING = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",), allow_lookup_failure=True)
FAILED = CheckError("dns.servfail", "SERVFAIL", "dns.CAA")
INSECURE: Table = TREE | {
    ("n.example", "CAA"): FAILED,
    ("n.example", "DS"): ["denied"],
    ("example", "DS"): ["secure"],
}


@pytest.fixture(autouse=True)
def rounds_follow_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_failure, "_BETWEEN_ROUNDS_S", 0.1)
    monkeypatch.setattr(zone_servers, "_REFERRAL_S", 0.1)


class Flaky(FakeResolver):
    """Fails the first question for CAA of each name."""

    async def query(self, name: str, rdtype: str) -> Reply:
        if rdtype == "CAA" and (name, rdtype) not in self.asked:
            self.asked.append((name, rdtype))
            return await FakeResolver({(name, rdtype): FAILED}).query(name, rdtype)
        return await super().query(name, rdtype)


class Late(FakeResolver):
    """Answers questions for CAA at `n.example` after so many seconds, or never."""

    def __init__(self, table: Table, after_s: float | None) -> None:
        super().__init__(table)
        self.after_s = after_s

    async def query(self, name: str, rdtype: str) -> Reply:
        if (name, rdtype) == ("n.example", "CAA"):
            await (asyncio.Event().wait() if self.after_s is None else asyncio.sleep(self.after_s))
        return await super().query(name, rdtype)


async def checked(ctx: CheckContext, check: CaaCheck = ASKING, *, deadline_ms: int = 2000) -> Observation:
    return await run(request(name("n.example"), check, deadline_ms=deadline_ms), ctx)


def shown(table: Table = INSECURE, script: Script | None = None, **others: Any) -> CheckContext:
    servers = others.pop("servers", None) or FakeServers(script or failing(error()))
    return context(table, servers=servers, silence_s=others.pop("silence_s", 0.3), **others)


def failure_of(observation: Observation) -> LookupFailure:
    assert observation.caa is not None
    assert observation.caa.lookup_failure is not None
    return observation.caa.lookup_failure


def refused_for(observation: Observation, cause: str) -> None:
    assert observation.outcome is Outcome.ERROR
    assert not observation.corroborates
    assert observation.errors[0].code == cause
    failure = failure_of(observation)
    assert (failure.cause, failure.permits) == (cause, False)
    assert observation.caa is not None
    assert not observation.caa.permitted


async def test_all_three_conditions_permit_and_are_shown() -> None:
    servers = FakeServers(failing(error()))
    observation = await checked(shown(servers=servers))
    assert observation.outcome is Outcome.MATCH
    failure = failure_of(observation)
    assert (failure.name, failure.retried, failure.insecure_zone_cut, failure.outside) == (
        "n.example",
        True,
        "n.example",
        True,
    )
    assert (failure.cause, failure.zone) == ("caa.servers-fail", "n.example")
    assert [(one.round, one.address, one.type, one.said, one.rcode) for one in failure.servers] == [
        (number, CHILD_4, rdtype, ServerSaid.ERROR, "SERVFAIL") for number in (1, 2) for rdtype in ("CAA", "SOA")
    ]
    first, second = (one.sent_us for one in failure.servers if one.type == "CAA")
    assert second - first >= 90_000
    assert [one[3] for one in servers.asked if one[2] == "CAA"] == [True, False], "the second round is without EDNS"
    assert all(question.closed for question in servers.questions)
    seen = [(lookup.name, lookup.type) for lookup in observation.lookups]
    assert seen.count(("n.example", "CAA")) == 2
    assert ("example", "DS") in seen
    assert ("n.example", "DS") in seen
    assert any(label.startswith("mpic-") for label, _ in seen)
    assert observation.dnssec is DnssecStatus.INDETERMINATE


async def test_without_the_callers_wish_nothing_is_permitted() -> None:
    check = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
    servers = FakeServers(failing(error()))
    observation = await checked(shown(servers=servers), check)
    assert observation.outcome is Outcome.ERROR
    assert len(observation.lookups) == 1
    assert servers.asked == []


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({("n.example", "DS"): ["no cut"]}, "caa.not-insecure"),
        ({("n.example", "DS"): ["opt-out"]}, "caa.not-insecure"),
        ({("n.example", "DS"): FAILED}, "caa.not-insecure"),
        ({("example", "DS"): FAILED}, "caa.not-insecure"),
        ({("example", "DS"): ["opt-out"]}, "caa.not-insecure"),
        ({("n.example", "CAA"): CheckError("dns.bogus", "bogus", "dns.CAA")}, "dns.bogus"),
        ({("n.example", "CAA"): CheckError("dns.unreachable", "x", "dns.CAA", Fault.PERSPECTIVE)}, "dns.unreachable"),
        ({("n.example", "CAA"): CheckError(RESOLVER_HUNG_UP, "x", "dns.CAA")}, RESOLVER_HUNG_UP),
        ({("example", "NS"): FAILED}, "caa.no-zone"),
        ({("example", "NS"): ["ns.example.", "other.example."]}, "caa.zone-answers"),
    ],
)
async def test_one_condition_missing_refuses(changed: Table, cause: str) -> None:
    # The last one is a positive control of the script: the parent's second server has no address, and the first still refers.
    script = failing(answer()) if cause == "caa.zone-answers" else None
    refused_for(await checked(shown(INSECURE | changed, script)), cause)


async def test_a_perspective_in_doubt_refuses() -> None:
    refused_for(await checked(shown(doubts=("the tunnel is down",))), "caa.not-outside")


async def test_a_control_look_up_that_fails_too_refuses() -> None:
    class Dark(FakeResolver):
        async def query(self, name: str, rdtype: str) -> Reply:
            if name.startswith("mpic-"):
                return await FakeResolver({(name, rdtype): FAILED}).query(name, rdtype)
            return await super().query(name, rdtype)

    refused_for(await checked(shown(resolver=Dark(INSECURE))), "caa.not-outside")


@pytest.mark.parametrize("versions", [frozenset({4}), frozenset({6}), frozenset()])
async def test_name_servers_that_cannot_all_be_reached_from_here_have_not_failed(versions: frozenset[int]) -> None:
    observation = await checked(shown(versions=versions))
    refused_for(observation, "caa.not-outside")
    assert "IPv4 and IPv6" in failure_of(observation).reason


async def test_a_retry_that_is_answered_decides_as_ever() -> None:
    for records, outcome in ((['0 issue "ca.example"'], Outcome.MATCH), (['0 issue "x.example"'], Outcome.MISMATCH)):
        observation = await checked(shown(resolver=Flaky(INSECURE | {("n.example", "CAA"): records})))
        assert observation.outcome is outcome
        assert observation.caa is not None
        assert observation.caa.lookup_failure is None


async def test_an_answer_of_the_resolvers_that_comes_late_decides() -> None:
    table = INSECURE | {("n.example", "CAA"): ['0 issue ";"']}
    observation = await checked(shown(resolver=Late(table, 0.5), script=failing(error())))
    assert observation.outcome is Outcome.MISMATCH


@pytest.mark.parametrize("said", [error("REFUSED"), error("NOTIMP"), error("FORMERR"), Said(ServerSaid.CLOSED)])
async def test_every_error_counts(said: Said) -> None:
    assert (await checked(shown(script=failing(said)))).outcome is Outcome.MATCH


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (failing(answer()), "caa.zone-answers"),
        (lambda *of: error() if of[3] else answer(), "caa.zone-answers"),
        (lambda *of: (answer(), 0.4) if of[2] == "CAA" else answer(), "caa.zone-answers"),
        (failing(Said(ServerSaid.ODD)), "caa.server-odd"),
        (failing(Said(ServerSaid.UNREACHABLE)), "caa.server-silent"),
        (failing(None), "caa.server-silent"),
        (lambda *of: None if of[2] == "CAA" else answer(aa=False), "caa.server-silent"),
        (lambda *of: None if of[2] == "CAA" else error(), "caa.server-silent"),
        (failing(referral("n.example", {"ns.x": []})), "caa.bad-referral"),
        (failing(referral("example", {"ns.x": []})), "caa.bad-referral"),
        (failing(referral("m.n.example", {"ns.x": []})), "caa.bad-referral"),
        (lambda *of: referral("x", {"ns.x": []}) if of[2] == "CAA" else error(), "caa.server-refers"),
    ],
)
async def test_what_is_no_failure_refuses(script: Script, cause: str) -> None:
    refused_for(await checked(shown(script=script)), cause)


async def test_caa_dropped_twice_for_long_enough_permits() -> None:
    observation = await checked(shown(resolver=Late(INSECURE, None), script=dropping))
    assert observation.outcome is Outcome.MATCH
    failure = failure_of(observation)
    assert failure.cause == "caa.servers-drop"
    assert all(one.elapsed_us >= 300_000 for one in failure.servers if one.type == "CAA")


async def test_too_little_time_to_show_silence_refuses() -> None:
    ctx = shown(resolver=Late(INSECURE, None), script=dropping, silence_s=5.0)
    refused_for(await checked(ctx), "caa.deadline")


async def test_one_server_of_two_that_is_silent_refuses() -> None:
    delegation = referral("n.example", {"a.n.example": [CHILD_4], "b.n.example": ["192.0.9.54"]})
    servers = FakeServers(lambda address, *_: None if address == "192.0.9.54" else error(), delegation)
    refused_for(await checked(shown(servers=servers)), "caa.server-silent")
    assert {one[0] for one in servers.asked if one[2] == "CAA"} == {CHILD_4, "192.0.9.54"}


@pytest.mark.parametrize(
    ("servers", "cause"),
    [
        ({"ns.n.example": ["10.0.0.1"]}, "caa.server-special-purpose"),
        ({"ns.n.example": ["127.0.0.1", CHILD_4]}, "caa.server-special-purpose"),
        # Glue for a name of another zone is not believed, and that name has no address.
        ({"ns.m.example": [CHILD_4]}, "caa.server-without-address"),
        ({"ns.n.example": [CHILD_4], "gone.example": []}, "caa.server-without-address"),
        ({f"ns{number}.n.example": [f"192.0.9.{number}"] for number in range(20, 34)}, "caa.too-many-servers"),
        ({"ns.n.example": [f"192.0.9.{number}" for number in range(20, 47)]}, "caa.too-many-servers"),
    ],
)
async def test_servers_that_are_not_all_asked_show_nothing(servers: dict[str, list[str]], cause: str) -> None:
    fake = FakeServers(failing(error()), referral("n.example", servers))
    refused_for(await checked(shown(servers=fake)), cause)
    assert not [one for one in fake.asked if one[2] == "CAA"]


@pytest.mark.parametrize("parent", [error(), answer("example"), None])
async def test_a_parent_that_does_not_refer_fails_together_with_the_zone(parent: Said | None) -> None:
    """What the zone itself says of its servers is not forgotten where those of its parent do not lead there."""
    table = INSECURE | {("n.example", "NS"): ["ns.n.example."], ("ns.n.example", "A"): [CHILD_4]}
    servers = FakeServers(lambda *of: answer() if of[2] == "CAA" else error())
    servers.parent = parent
    refused_for(await checked(shown(table, servers=servers)), "caa.zone-answers")
    assert {one[0] for one in servers.asked if one[2] == "CAA"} == {PARENT, CHILD_4}


async def test_more_delegations_than_are_followed_refuse() -> None:
    deep = ".".join(["x"] * 10)

    def script(address: str, label: str, rdtype: str, edns: bool) -> Said:
        seen = sum(one[2] == "SOA" for one in servers.asked) - 1
        below = ".".join(["x"] * seen)
        return referral(f"{below}.n.example", {f"ns.{below}.n.example": [CHILD_4]})

    servers = FakeServers(script)
    table = INSECURE | {(f"{deep}.n.example", "CAA"): FAILED}
    observation = await run(request(name(f"{deep}.n.example"), ASKING, deadline_ms=2000), shown(table, servers=servers))
    refused_for(observation, "caa.walk-too-long")


@pytest.mark.parametrize(
    ("nearest", "outcome"),
    [(['0 issue ";"'], Outcome.MISMATCH), (['0 issue "ca.example"'], Outcome.MATCH)],
)
async def test_what_a_parent_says_holds_for_a_child_that_fails(nearest: list[str], outcome: Outcome) -> None:
    observation = await checked(shown(INSECURE | {("example", "CAA"): nearest}))
    assert observation.outcome is outcome
    assert failure_of(observation).permits
    assert observation.caa is not None
    assert observation.caa.found_at == "example"


async def test_a_failure_above_has_to_be_shown_too() -> None:
    table = INSECURE | {("example", "CAA"): FAILED}
    observation = await checked(shown(table))
    # Those of `example` refer to other servers for n.example, and for example itself they are asked as well.
    assert observation.outcome is Outcome.ERROR
    assert observation.caa is not None
    assert [one.permits for one in observation.caa.further_failures] == [True]
    assert failure_of(observation).name == "example"


async def test_every_label_of_a_zone_that_fails_is_shown_apart() -> None:
    table = INSECURE | {("a.n.example", "CAA"): FAILED}
    servers = FakeServers(failing(error()))
    observation = await run(request(name("a.n.example"), ASKING, deadline_ms=2000), shown(table, servers=servers))
    assert observation.outcome is Outcome.MATCH
    assert {one[1] for one in servers.asked if one[2] == "CAA"} == {"a.n.example", "n.example"}
    assert observation.caa is not None
    assert [one.name for one in observation.caa.further_failures] == ["n.example"]


async def test_more_failing_labels_than_are_looked_into_refuse() -> None:
    labels = [".".join([*["a"] * depth, "n.example"]) for depth in range(5)]
    table = INSECURE | {(label, "CAA"): FAILED for label in labels}
    observation = await run(request(name(labels[-1]), ASKING, deadline_ms=2000), shown(table))
    assert observation.outcome is Outcome.ERROR
    assert observation.errors[0].code == "caa.too-many-failures"


class Chain(FakeResolver):
    """`n.example` is a CNAME to c1.example, that to c2.example, and so on; none of them is answered at once for CAA."""

    def __init__(self, table: Table, links: int) -> None:
        names = ["n.example", *(f"c{number}.example" for number in range(1, links + 1))]
        super().__init__(table | {(here, "CNAME"): [f"{there}."] for here, there in pairwise(names)})


async def test_a_chain_is_followed_and_each_name_on_it_is_proven() -> None:
    delegation = referral("c2.example", {"ns.c2.example": [CHILD_4]})
    proven: Table = {(f"{label}.example", "DS"): ["denied"] for label in ("c1", "c2")}
    servers = FakeServers(failing(error()), delegation)
    observation = await checked(shown(resolver=Chain(INSECURE | proven, 2), servers=servers))
    assert observation.outcome is Outcome.MATCH
    assert failure_of(observation).chain == ("c1.example", "c2.example")
    assert {one[1] for one in servers.asked if one[2] == "CAA"} == {"c2.example"}
    for label in ("c1", "c2"):
        signed = proven | {(f"{label}.example", "DS"): ["secure"]}
        ctx = shown(resolver=Chain(INSECURE | signed, 2), servers=FakeServers(failing(error()), delegation))
        refused_for(await checked(ctx), "caa.not-insecure")


@pytest.mark.parametrize(("links", "cause"), [(9, "caa.chain-too-long"), (13, "caa.chain-too-long")])
async def test_a_chain_that_only_we_do_not_follow_is_no_permission(links: int, cause: str) -> None:
    refused_for(await checked(shown(resolver=Chain(INSECURE, links))), cause)


async def test_a_chain_that_comes_back_is_no_permission() -> None:
    table = INSECURE | {("c2.example", "CNAME"): ["N.example."]}
    refused_for(await checked(shown(resolver=Chain(table, 2))), "caa.chain-loop")


async def test_a_chain_of_as_many_as_are_followed_is_shown() -> None:
    delegation = referral("c3.example", {"ns.c3.example": [CHILD_4]})
    proven: Table = {(f"c{number}.example", "DS"): ["denied"] for number in (1, 2, 3)}
    ctx = shown(
        resolver=Chain(INSECURE | proven, 3),
        servers=FakeServers(failing(error()), delegation),
        delegation=DelegationRules(max_chain=3),
    )
    assert (await checked(ctx)).outcome is Outcome.MATCH


@pytest.mark.parametrize(
    "code", ["dns.chain.too-long", "dns.too-many-records", "dns.malformed", "dns.refused", "dns.new"]
)
async def test_an_answer_that_we_did_not_take_is_no_failed_look_up(code: str) -> None:
    table = INSECURE | {("n.example", "CAA"): CheckError(code, "an answer, but not one that we take", "dns.CAA")}
    servers = FakeServers(failing(error()))
    refused_for(await checked(shown(table, servers=servers)), code)
    assert servers.asked == []


async def test_a_chain_that_is_too_long_for_us_is_no_permission() -> None:
    class Long(FakeResolver):
        async def query(self, name: str, rdtype: str) -> Reply:
            reply = await super().query(name, rdtype)
            if rdtype != "CAA":
                return reply
            link = Record("l.example", "CNAME", 60, "m.example")
            return Reply(msgspec.structs.replace(reply.lookup, chain=(link,) * 9), reply.rrset)

    observation = await checked(shown(resolver=Long(INSECURE | {("n.example", "CAA"): ['0 issue ";"']})))
    assert observation.outcome is Outcome.ERROR
    assert observation.errors[0].code == "dns.chain.too-long"


async def test_a_server_that_could_not_be_asked_for_want_of_sockets_shows_nothing() -> None:
    def script(address: str, name: str, rdtype: str, edns: bool) -> Said:
        raise OSError(24, "too many")

    refused_for(await checked(shown(script=script)), "caa.busy")
