"""Permission by failure: only with the retry, the proof of Insecure, and a failure that is outside (BR 3.2.2.8)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from appliance.checks.context import CheckContext
from appliance.checks.run import run
from appliance.model.check import CaaCheck, CertificateType
from appliance.model.observation import CheckError, DnssecStatus, Fault, LookupFailure, Observation, Outcome, Record
from appliance.net.dns.resolver import RESOLVER_HUNG_UP, Reply
from tests.unit.checks.help import Table, context, name, request
from tests.unit.net.web import FakeResolver

ASKING = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",), allow_lookup_failure=True)
FAILED = CheckError("dns.servfail", "SERVFAIL", "dns.CAA")
INSECURE: Table = {("n.example", "CAA"): FAILED, ("n.example", "DS"): ["denied"], ("example", "DS"): ["secure"]}


class Flaky(FakeResolver):
    """Fails the first question for CAA of each name."""

    async def query(self, name: str, rdtype: str) -> Reply:
        if rdtype == "CAA" and (name, rdtype) not in self.asked:
            self.asked.append((name, rdtype))
            return await FakeResolver({(name, rdtype): FAILED}).query(name, rdtype)
        return await super().query(name, rdtype)


async def checked(ctx: CheckContext, check: CaaCheck = ASKING) -> Observation:
    return await run(request(name("n.example"), check), ctx)


def failure_of(observation: Observation) -> LookupFailure:
    assert observation.caa is not None
    assert observation.caa.lookup_failure is not None
    return observation.caa.lookup_failure


async def test_all_three_conditions_permit_and_are_shown() -> None:
    observation = await checked(context(INSECURE))
    assert observation.outcome is Outcome.MATCH
    failure = failure_of(observation)
    assert (failure.name, failure.retried, failure.insecure_zone_cut, failure.outside) == (
        "n.example",
        True,
        "n.example",
        True,
    )
    seen = [(lookup.name, lookup.type) for lookup in observation.lookups]
    assert seen[:2] == [("n.example", "CAA")] * 2
    assert ("example", "DS") in seen
    assert ("n.example", "DS") in seen
    assert any(label.startswith("mpic-") for label, _ in seen)
    assert observation.dnssec is DnssecStatus.INDETERMINATE


async def test_without_the_callers_wish_nothing_is_permitted() -> None:
    check = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
    observation = await checked(context(INSECURE), check)
    assert observation.outcome is Outcome.ERROR
    assert len(observation.lookups) == 1


@pytest.mark.parametrize(
    ("table", "doubts"),
    [
        (INSECURE | {("n.example", "DS"): ["no cut"]}, ()),
        (INSECURE | {("n.example", "DS"): ["opt-out"]}, ()),
        (INSECURE | {("n.example", "DS"): FAILED}, ()),
        (INSECURE | {("example", "DS"): FAILED}, ()),
        (INSECURE | {("example", "DS"): ["opt-out"]}, ()),
        (INSECURE, ("the tunnel is down",)),
        (INSECURE | {("n.example", "CAA"): CheckError("dns.bogus", "bogus", "dns.CAA")}, ()),
        (INSECURE | {("n.example", "CAA"): CheckError("dns.unreachable", "x", "dns.CAA", Fault.PERSPECTIVE)}, ()),
        (INSECURE | {("n.example", "CAA"): CheckError(RESOLVER_HUNG_UP, "x", "dns.CAA")}, ()),
    ],
)
async def test_one_condition_missing_refuses(table: Table, doubts: tuple[str, ...]) -> None:
    observation = await checked(context(table, doubts=doubts))
    assert observation.outcome is Outcome.ERROR
    assert not observation.corroborates
    assert not failure_of(observation).permits
    assert observation.caa is not None
    assert not observation.caa.permitted


async def test_a_retry_from_the_cache_is_none() -> None:
    observation = await checked(context(INSECURE, forgets=False))
    assert observation.outcome is Outcome.ERROR
    assert not failure_of(observation).retried


async def test_a_control_look_up_that_fails_too_refuses() -> None:
    class Dark(FakeResolver):
        async def query(self, name: str, rdtype: str) -> Reply:
            if name.startswith("mpic-"):
                return await FakeResolver({(name, rdtype): FAILED}).query(name, rdtype)
            return await super().query(name, rdtype)

    observation = await checked(context(resolver=Dark(INSECURE)))
    assert observation.outcome is Outcome.ERROR
    assert not failure_of(observation).outside


async def test_a_retry_that_is_answered_decides_as_ever() -> None:
    for records, outcome in ((['0 issue "ca.example"'], Outcome.MATCH), (['0 issue "x.example"'], Outcome.MISMATCH)):
        resolver = Flaky({("n.example", "CAA"): records})
        observation = await checked(context(resolver=resolver))
        assert observation.outcome is outcome
        assert resolver.asked == [("n.example", "CAA")] * 2


async def test_each_label_is_retried() -> None:
    resolver = Flaky({})
    observation = await checked(context(resolver=resolver))
    assert observation.outcome is Outcome.MATCH
    assert resolver.asked == [("n.example", "CAA")] * 2 + [("example", "CAA")] * 2


async def test_silent_servers_leave_time_for_the_proofs() -> None:
    class Silent(FakeResolver):
        async def query(self, name: str, rdtype: str) -> Reply:
            if rdtype == "CAA":
                await asyncio.Event().wait()
            return await super().query(name, rdtype)

    ctx = context(resolver=Silent({key: value for key, value in INSECURE.items() if key[1] == "DS"}))
    observation = await run(request(name("n.example"), ASKING, deadline_ms=1000), ctx)
    assert observation.outcome is Outcome.MATCH
    assert failure_of(observation).permits


@pytest.mark.parametrize("versions", [frozenset({4}), frozenset({6}), frozenset()])
async def test_name_servers_that_cannot_all_be_reached_from_here_have_not_failed(versions: frozenset[int]) -> None:
    observation = await checked(context(INSECURE, versions=versions))
    assert observation.outcome is Outcome.ERROR
    assert not failure_of(observation).outside
    assert "IPv4 and IPv6" in failure_of(observation).reason


@pytest.mark.parametrize(
    "code", ["dns.chain.too-long", "dns.too-many-records", "dns.malformed", "dns.refused", "dns.new"]
)
async def test_an_answer_that_we_did_not_take_is_no_failed_look_up(code: str) -> None:
    table = INSECURE | {("n.example", "CAA"): CheckError(code, "an answer, but not one that we take", "dns.CAA")}
    observation = await checked(context(table))
    assert observation.outcome is Outcome.ERROR
    assert "no failed look-up" in failure_of(observation).reason


async def test_a_chain_that_is_too_long_for_us_is_no_permission() -> None:
    class Long(FakeResolver):
        async def query(self, name: str, rdtype: str) -> Reply:
            reply = await super().query(name, rdtype)
            if rdtype != "CAA":
                return reply
            link = Record("l.example", "CNAME", 60, "m.example")
            return Reply(msgspec.structs.replace(reply.lookup, chain=(link,) * 9), reply.rrset)

    table = {key: value for key, value in INSECURE.items() if key[1] == "DS"}
    observation = await checked(context(resolver=Long(table | {("n.example", "CAA"): ['0 issue ";"']})))
    assert observation.outcome is Outcome.ERROR
    assert observation.errors[0].code == "dns.chain.too-long"
