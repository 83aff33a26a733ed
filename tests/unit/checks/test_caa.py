"""The climb: which labels are asked, which decides, and where it ends in an error."""

from __future__ import annotations

import pytest

from appliance.checks.run import run
from appliance.model.check import CaaCheck, CertificateType
from appliance.model.observation import CheckError, Outcome
from tests.unit.checks.help import Table, context, name, request
from tests.unit.checks.help import asked as questions
from tests.unit.net.web import FakeResolver

CHECK = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
FAILED = CheckError("dns.servfail", "SERVFAIL", "dns.CAA")
YES, NO = ['0 issue "ca.example"'], ['0 issue "evil.example"']


@pytest.mark.parametrize(
    ("table", "asked", "outcome", "found_at"),
    [
        ({}, ["a.b.example", "b.example", "example"], Outcome.MATCH, None),
        ({"a.b.example": YES}, ["a.b.example"], Outcome.MATCH, "a.b.example"),
        ({"a.b.example": NO}, ["a.b.example"], Outcome.MISMATCH, "a.b.example"),
        ({"a.b.example": YES, "b.example": NO}, ["a.b.example"], Outcome.MATCH, "a.b.example"),
        ({"a.b.example": NO, "b.example": YES}, ["a.b.example"], Outcome.MISMATCH, "a.b.example"),
        ({"b.example": YES}, ["a.b.example", "b.example"], Outcome.MATCH, "b.example"),
        ({"example": NO}, ["a.b.example", "b.example", "example"], Outcome.MISMATCH, "example"),
        ({"a.b.example": []}, ["a.b.example", "b.example", "example"], Outcome.MATCH, None),
        (
            {"a.b.example": ['0 iodef "mailto:x@y.example"'], "example": NO},
            ["a.b.example"],
            Outcome.MATCH,
            "a.b.example",
        ),
    ],
)
async def test_the_nearest_rrset_decides(
    table: dict[str, list[str]], asked: list[str], outcome: Outcome, found_at: str | None
) -> None:
    ctx = context({(label, "CAA"): records for label, records in table.items()})
    observation = await run(request(name("a.b.example"), CHECK), ctx)
    assert observation.outcome is outcome
    assert observation.caa is not None
    assert observation.caa.found_at == found_at
    assert isinstance(ctx.resolver, FakeResolver)
    assert ctx.resolver.asked == [(label, "CAA") for label in asked]


@pytest.mark.parametrize(
    ("table", "outcome"),
    [
        ({"a.b.example": FAILED}, Outcome.ERROR),
        ({"a.b.example": FAILED, "b.example": YES}, Outcome.ERROR),
        ({"b.example": FAILED, "example": YES}, Outcome.ERROR),
        ({"example": FAILED}, Outcome.ERROR),
        ({"a.b.example": YES, "b.example": FAILED}, Outcome.MATCH),
    ],
)
async def test_an_error_at_or_below_the_deciding_label_is_an_error(
    table: dict[str, list[str] | CheckError], outcome: Outcome
) -> None:
    full: Table = {(label, "CAA"): records for label, records in table.items()}
    observation = await run(request(name("a.b.example"), CHECK), context(full))
    assert observation.outcome is outcome
    assert observation.corroborates is (outcome is Outcome.MATCH)


async def test_the_wildcard_label_is_removed_and_issuewild_counts() -> None:
    ctx = context({("b.example", "CAA"): ['0 issue "ca.example"', '0 issuewild ";"']})
    assert (await run(request(name("b.example"), CHECK), ctx)).outcome is Outcome.MATCH
    assert (await run(request(name("b.example", wildcard=True), CHECK), ctx)).outcome is Outcome.MISMATCH


ASKED = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("wildcard", [False, True])
async def test_a_name_under_no_top_level_domain_is_not_unrestricted(wildcard: bool, allow: bool) -> None:
    asking = CaaCheck(CertificateType.TLS_SERVER, ("ca.example",), allow_lookup_failure=allow)
    observation = await run(request(name("foo.nosuchtld", wildcard=wildcard), asking), context({}))
    assert (observation.outcome, observation.corroborates) == (Outcome.ERROR, False)
    assert observation.errors[0].code == "caa.no-such-tld"


async def test_a_partner_cannot_have_reserved_names_checked() -> None:
    ctx = context({})
    for reserved in ("host.internal", "1.2.0.192.in-addr.arpa"):
        observation = await run(request(name(reserved), ASKED), ctx)
        assert (observation.outcome, observation.errors[0].code) == (Outcome.ERROR, "request.refused")
    assert questions(ctx) == []
