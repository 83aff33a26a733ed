"""The door: whatever happens inside, an observation comes out, and only a positive match corroborates."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import msgspec
import pytest

from appliance.checks.run import run
from appliance.model.check import AcmeDns01Check, AcmeHttp01Check, CaaCheck, CertificateType
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import Fault, Observation, Outcome
from appliance.net.dns.resolver import Reply
from tests.unit.checks.help import Table, context, name, request
from tests.unit.net.web import V4, FakeResolver, Loopback, listening

HTTP = AcmeHttp01Check("token", "token.key")
DNS = AcmeDns01Check("digest")


def error_code(observation: Observation) -> str:
    assert not observation.corroborates
    assert observation.outcome is Outcome.ERROR
    return observation.errors[0].code


class Stuck(FakeResolver):
    async def query(self, name: str, rdtype: str) -> Reply:
        if rdtype == "CAA" and name == "n.example":
            return await super().query(name, rdtype)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_deadline_keeps_what_was_seen() -> None:
    ctx = context(resolver=Stuck({}))
    check = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
    observation = await run(request(name("n.example"), check, deadline_ms=50), ctx)
    assert error_code(observation) == "check.deadline"
    assert observation.errors[0].step == "dns.CAA"
    assert [(lookup.name, lookup.rcode) for lookup in observation.lookups] == [
        ("n.example", "NXDOMAIN"),
        ("example", None),
    ]
    assert [step for step, _ in observation.steps] == ["dns.CAA"]


async def test_a_cancelled_check_still_answers() -> None:
    ctx = context(resolver=Stuck({}))
    task = asyncio.create_task(run(request(name("n.example"), DNS, deadline_ms=60_000), ctx))
    await asyncio.sleep(0)
    task.cancel()
    observation = await task
    assert error_code(observation) == "check.cancelled"
    assert [lookup.type for lookup in observation.lookups] == ["TXT"]


async def test_a_deadline_in_the_middle_of_a_hop_keeps_the_hop() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(stall) as port:
        ctx = context({("n.example", "A"): [V4]}, Loopback({(V4, 80): port}))
        observation = await run(request(name("n.example"), HTTP, deadline_ms=200), ctx)
    assert error_code(observation) == "check.deadline"
    assert observation.errors[0].step == "http"
    assert observation.hops[0].connections[0].connected
    assert observation.hops[0].status is None


async def test_an_unexpected_exception_is_ours_and_never_a_match() -> None:
    with patch.object(FakeResolver, "query", side_effect=ZeroDivisionError):
        observation = await run(request(name("n.example"), DNS), context())
    assert error_code(observation) == "check.unexpected"
    assert observation.errors[0].fault is Fault.APPLIANCE


@pytest.mark.parametrize(
    "value",
    [
        "n.example:80",
        "n.example/x",
        "u@n.example",
        "N.example",
        "n.example.",
        "",
        "example",
        "a..b",
        "*.n.example",
        "1.2.3.4",
    ],
)
async def test_what_is_no_canonical_name_reaches_no_check(value: str) -> None:
    ctx = context({})
    observation = await run(request(Identifier(IdentifierType.DNS, value, False, value), HTTP), ctx)
    assert error_code(observation) == "request.refused"
    assert isinstance(ctx.resolver, FakeResolver)
    assert ctx.resolver.asked == []


@pytest.mark.parametrize("value", ["1.2.3", "01.2.3.4", "2001:DB8::1", "::1%lo", "n.example"])
async def test_what_is_no_canonical_address_reaches_no_check(value: str) -> None:
    observation = await run(request(Identifier(IdentifierType.IP, value, False, value), HTTP), context())
    assert error_code(observation) == "request.refused"


async def test_http_01_is_not_for_wildcards() -> None:
    ctx = context({("n.example", "A"): [V4]})
    assert error_code(await run(request(name("n.example", wildcard=True), HTTP), ctx)) == "request.refused"


async def test_a_request_to_another_perspective_is_refused() -> None:
    assert error_code(await run(request(name("n.example"), DNS, perspective="p-two"), context())) == "request.refused"


async def test_an_observation_is_bounded_whatever_is_seen() -> None:
    texts = [b"\xc8" + bytes([200 + i % 50]) * 200 for i in range(900)]
    table: Table = {("_acme-challenge.n.example", "TXT"): texts}
    observation = await run(request(name("n.example"), DNS), context(table))
    assert observation.outcome is Outcome.MISMATCH
    assert len(observation.seen) == 64
    assert all(len(text) <= 512 for text in observation.seen)
    assert len(msgspec.json.encode(observation)) < 256 * 1024


async def test_a_climb_of_many_labels_is_bounded_too() -> None:
    deep = ".".join(["a"] * 120 + ["example"])
    check = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
    observation = await run(request(name(deep), check), context({}))
    assert len(observation.lookups) == 121
    assert len(msgspec.json.encode(observation)) < 256 * 1024


async def test_what_every_observation_says() -> None:
    observation = await run(
        request(name("n.example"), DNS), context({("_acme-challenge.n.example", "TXT"): ['"digest"']})
    )
    assert observation.corroborates
    assert observation.outcome is Outcome.MATCH
    assert (observation.request_id, observation.perspective, observation.method) == ("r-1", "p-one", "acme-dns-01")
    assert observation.started_at == "2026-11-21T12:00:00.123456Z"
    assert observation.egress_addresses == ("198.18.9.9",)
    assert observation.errors == ()
