"""ACME dns-01: which records match, and which question was asked."""

from __future__ import annotations

import pytest

from appliance.checks.run import run
from appliance.model.check import AcmeDns01Check
from appliance.model.observation import CheckError, Outcome
from tests.unit.checks.help import Table, context, name, request
from tests.unit.net.web import FakeResolver

DIGEST = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
OWNER = ("_acme-challenge.n.example", "TXT")


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        ([f'"{DIGEST}"'], Outcome.MATCH),
        ([f'"{DIGEST[:20]}" "{DIGEST[20:]}"'], Outcome.MATCH),
        (['"other"', f'"{DIGEST}"'], Outcome.MATCH),
        ([f'"{DIGEST.lower()}"'], Outcome.MISMATCH),
        ([f'"{DIGEST} "'], Outcome.MISMATCH),
        ([f'" {DIGEST}"'], Outcome.MISMATCH),
        ([f'"{DIGEST}x"'], Outcome.MISMATCH),
        (['""'], Outcome.MISMATCH),
        (None, Outcome.MISMATCH),
    ],
)
async def test_records(records: list[str] | None, outcome: Outcome) -> None:
    ctx = context({} if records is None else {OWNER: records})
    observation = await run(request(name("n.example"), AcmeDns01Check(DIGEST)), ctx)
    assert observation.outcome is outcome
    assert isinstance(ctx.resolver, FakeResolver)
    assert ctx.resolver.asked == [OWNER]


async def test_the_wildcard_label_is_removed() -> None:
    ctx = context({OWNER: [f'"{DIGEST}"']})
    assert (await run(request(name("n.example", wildcard=True), AcmeDns01Check(DIGEST)), ctx)).corroborates


async def test_a_record_that_does_not_parse_spoils_no_other() -> None:
    table: Table = {OWNER: [b"\xff", b"", b"\x05abc", bytes([len(DIGEST)]) + DIGEST.encode()]}
    assert (await run(request(name("n.example"), AcmeDns01Check(DIGEST)), context(table))).corroborates


async def test_an_unanswered_question_is_an_error() -> None:
    table: Table = {OWNER: CheckError("dns.servfail", "SERVFAIL", "dns.TXT")}
    observation = await run(request(name("n.example"), AcmeDns01Check(DIGEST)), context(table))
    assert (observation.outcome, observation.errors[0].code) == (Outcome.ERROR, "dns.servfail")
