"""website-change: where it looks, and which pages match."""

from __future__ import annotations

import pytest

from appliance.checks.run import run
from appliance.model.check import UrlScheme, WebsiteChangeCheck
from appliance.model.observation import Observation, Outcome
from tests.unit.checks.help import context, name, request
from tests.unit.net.web import V4, Loopback, answering, listening

VALUE = "secret123"
MATCH, MISMATCH, ERROR = Outcome.MATCH, Outcome.MISMATCH, Outcome.ERROR


async def observed(check: WebsiteChangeCheck, *responses: bytes, requests: list[bytes] | None = None) -> Observation:
    async with listening(answering(*responses, requests=requests)) as port:
        names = ("n.example", "secret123.example", "xn--bcher-kva.example")
        ctx = context({(one, "A"): [V4] for one in names}, Loopback({(V4, 80): port}))
        return await run(request(name("n.example"), check), ctx)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 X\r\n\r\n" + body


@pytest.mark.parametrize(
    ("body", "regex", "expected"),
    [
        (b"secret123", None, MATCH),
        (b"<html>a secret123 b</html>", None, MATCH),
        (b"\xff\xfe secret123 \x00", None, MATCH),
        (b"SECRET123", None, MISMATCH),
        (b"", None, MISMATCH),
        (b" secret123\n", "^secret123$", MATCH),
        (b"a secret123", "^secret123$", MISMATCH),
        (b"xsecret123y", r"^\w*secret123\w*$", MATCH),
        (b"other", "^other$", MISMATCH),
        (b"x" * 60000 + b"secret123", None, MATCH),
        (b"x" * 70000 + b"secret123", None, MISMATCH),
    ],
)
async def test_pages(body: bytes, regex: str | None, expected: Outcome) -> None:
    requests: list[bytes] = []
    observation = await observed(WebsiteChangeCheck("a/t.html", VALUE, match_regex=regex), ok(body), requests=requests)
    assert observation.outcome is expected
    assert requests[0].startswith(b"GET /.well-known/pki-validation/a/t.html HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("value", "location"),
    [
        (VALUE, "/echo?q=secret123"),
        (VALUE, "/%73ecret123"),
        (VALUE, "/%2573ecret123"),
        (VALUE, "/%252573ecret123"),
        (VALUE, "/%%37%33ecret123"),
        (VALUE, "/%u0073ecret123"),
        (VALUE, "/?x=%53ECRET123"),
        (VALUE, "/sec%00ret123"),
        (VALUE, "//secret123.example/"),
        (VALUE, "//SECRET123.example/"),
        ("two words", "/two+words"),
        ("two words", "/?two%2Bwords"),
        ("two words", "/two%2520words"),
        ("a%20b%20c%20d secret", "/a+b+c+d+secret"),
        ("%73%65%63%72%65%74", "/?q=secret"),
        ("tom&amp;jerry=12", "/?q=tom&jerry=12"),
        ("one/two/three", "/one;v=1/two;w/three"),
        ("one/two/three", "/one/x/%2e%2E/two/./three?q=/../../.."),
        ("one/two/three", "/one%2ftwo//three"),
        ("bücher.example", "//xn--bcher-kva.example/"),
        ("BÜCHER.example", "//xn--bcher-kva.example/"),
        ("bücher und mehr", "/b%C3%BCcher+und+mehr"),
        ("bücher und mehr", "/b%FCcher%20und%20mehr"),
        ("n.example:80", "/x"),
        ("identity", "/x"),
    ],
)
@pytest.mark.parametrize("regex", [None, "."])
async def test_the_value_must_not_come_from_the_request(value: str, location: str, regex: str | None) -> None:
    """Both hops are answered with the value, as by a page that shows what it was asked for."""
    redirect = f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    check = WebsiteChangeCheck("t.html", value, match_regex=regex)
    observation = await observed(check, redirect, ok(b"you asked for " + value.encode()))
    assert (observation.outcome, observation.errors[0].code) == (MISMATCH, "website.value-in-request")


async def test_what_else_is_in_a_redirect_does_no_harm() -> None:
    redirect = b"HTTP/1.1 302 F\r\nLocation: /a%2520b;c=d?secret=twelve%33+%zz%\r\nContent-Length: 0\r\n\r\n"
    assert (await observed(WebsiteChangeCheck("t.html", VALUE), redirect, ok(b"secret123"))).outcome is MATCH


async def test_the_value_must_not_come_from_our_own_header_fields() -> None:
    check = WebsiteChangeCheck("t.html", VALUE, http_headers=(("User-Agent", "secret%3123"),))
    observation = await observed(check, ok(b"you are secret123"))
    assert (observation.outcome, observation.errors[0].code) == (MISMATCH, "website.value-in-request")


async def test_what_is_encoded_too_often_to_be_read_is_no_match() -> None:
    for times, expected in ((7, MATCH), (8, ERROR), (900, ERROR)):
        location = b"/%" + b"25" * times + b"41"
        redirect = b"HTTP/1.1 302 F\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
        observation = await observed(WebsiteChangeCheck("t.html", VALUE), redirect, ok(b"secret123"))
        assert observation.outcome is expected, times
        assert [one.code for one in observation.errors] == [] if expected is MATCH else ["website.encoded-too-often"]


async def test_a_short_value_shows_nothing() -> None:
    assert (await observed(WebsiteChangeCheck("t.html", "short12"), ok(b"short12"))).outcome is MISMATCH


async def test_https_is_asked_on_its_own_port() -> None:
    connector = Loopback({})
    ctx = context({("n.example", "A"): [V4]}, connector)
    observation = await run(request(name("n.example"), WebsiteChangeCheck("t", VALUE, UrlScheme.HTTPS)), ctx)
    assert connector.connected == [(V4, 443)]
    assert observation.outcome is ERROR
    assert observation.hops[0].url == "https://n.example/.well-known/pki-validation/t"


async def test_an_expression_that_takes_too_much_work_is_an_error() -> None:
    from random import Random  # noqa: PLC0415

    body = bytes(Random(1).choices(b"ab", k=60000)) + b"secret123"
    observation = await observed(WebsiteChangeCheck("t", VALUE, match_regex="(a|b)*a(a|b){200}c"), ok(body))
    assert (observation.outcome, observation.errors[0].code) == (ERROR, "website.pattern")
