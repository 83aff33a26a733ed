"""website-change: where it looks, and which pages match."""

from __future__ import annotations

import pytest

from appliance.checks.run import run
from appliance.model.check import UrlScheme, WebsiteChangeCheck
from appliance.model.observation import Observation, Outcome
from tests.unit.checks.help import context, name, request
from tests.unit.net.web import V4, Loopback, answering, listening

MATCH, MISMATCH, ERROR = Outcome.MATCH, Outcome.MISMATCH, Outcome.ERROR


async def observed(check: WebsiteChangeCheck, *responses: bytes, requests: list[bytes] | None = None) -> Observation:
    async with listening(answering(*responses, requests=requests)) as port:
        ctx = context({("n.example", "A"): [V4]}, Loopback({(V4, 80): port}))
        return await run(request(name("n.example"), check), ctx)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 X\r\n\r\n" + body


@pytest.mark.parametrize(
    ("body", "regex", "expected"),
    [
        (b"value", None, MATCH),
        (b"<html>a value b</html>", None, MATCH),
        (b"\xff\xfe value \x00", None, MATCH),
        (b"VALUE", None, MISMATCH),
        (b"", None, MISMATCH),
        (b" value\n", "^value$", MATCH),
        (b"a value", "^value$", MISMATCH),
        (b"xvaluey", r"^\w*value\w*$", MATCH),
        (b"other", "^other$", MISMATCH),
        (b"x" * 60000 + b"value", None, MATCH),
        (b"x" * 70000 + b"value", None, MISMATCH),
    ],
)
async def test_pages(body: bytes, regex: str | None, expected: Outcome) -> None:
    requests: list[bytes] = []
    observation = await observed(
        WebsiteChangeCheck("a/t.html", "value", match_regex=regex), ok(body), requests=requests
    )
    assert observation.outcome is expected
    assert requests[0].startswith(b"GET /.well-known/pki-validation/a/t.html HTTP/1.1\r\n")


async def test_the_value_must_not_come_from_the_request() -> None:
    redirect = b"HTTP/1.1 302 F\r\nLocation: /echo?q=value\r\nContent-Length: 0\r\n\r\n"
    observation = await observed(WebsiteChangeCheck("t.html", "value"), redirect, ok(b"you asked for value"))
    assert (observation.outcome, observation.errors[0].code) == (MISMATCH, "website.value-in-request")
    observation = await observed(WebsiteChangeCheck("value.html", "value"), ok(b"value.html"))
    assert observation.outcome is MISMATCH


async def test_https_is_asked_on_its_own_port() -> None:
    connector = Loopback({})
    ctx = context({("n.example", "A"): [V4]}, connector)
    observation = await run(request(name("n.example"), WebsiteChangeCheck("t", "value", UrlScheme.HTTPS)), ctx)
    assert connector.connected == [(V4, 443)]
    assert observation.outcome is ERROR
    assert observation.hops[0].url == "https://n.example/.well-known/pki-validation/t"


async def test_an_expression_that_takes_too_much_work_is_an_error() -> None:
    from random import Random  # noqa: PLC0415

    body = bytes(Random(1).choices(b"ab", k=60000)) + b"value"
    observation = await observed(WebsiteChangeCheck("t", "value", match_regex="(a|b)*a(a|b){200}c"), ok(body))
    assert (observation.outcome, observation.errors[0].code) == (ERROR, "website.pattern")
