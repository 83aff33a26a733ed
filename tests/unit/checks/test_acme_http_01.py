"""ACME http-01: which bodies match."""

from __future__ import annotations

import pytest

from appliance.checks.run import run
from appliance.model.check import AcmeHttp01Check
from appliance.model.observation import Outcome
from tests.unit.checks.help import address, context, name, request
from tests.unit.net.web import V4, V6, Loopback, answering, listening

KEY = "token.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
CHECK = AcmeHttp01Check("token", KEY)


def ok(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (ok(KEY.encode()), Outcome.MATCH),
        (ok(KEY.encode() + b" \t\r\n\n"), Outcome.MATCH),
        (ok(KEY.encode(), 203), Outcome.MATCH),
        (ok(b" " + KEY.encode()), Outcome.MISMATCH),
        (ok(KEY.upper().encode()), Outcome.MISMATCH),
        (ok(b"x" + KEY.encode()), Outcome.MISMATCH),
        (ok(KEY.encode() + b"x"), Outcome.MISMATCH),
        (ok(KEY.encode() + b"\0"), Outcome.MISMATCH),
        (ok(b""), Outcome.MISMATCH),
        (ok(b"\xff\xfe"), Outcome.MISMATCH),
        (ok(KEY.encode() + b" " * 9000), Outcome.MISMATCH),
        (ok(KEY.encode(), 404), Outcome.MISMATCH),
        (ok(KEY.encode(), 500), Outcome.MISMATCH),
        (ok(KEY.encode(), 303), Outcome.MISMATCH),
        (ok(KEY.encode(), 302), Outcome.ERROR),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + KEY.encode(), Outcome.ERROR),
    ],
)
async def test_responses(response: bytes, outcome: Outcome) -> None:
    requests: list[bytes] = []
    async with listening(answering(response, requests=requests)) as port:
        ctx = context({("n.example", "A"): [V4]}, Loopback({(V4, 80): port}))
        observation = await run(request(name("n.example"), CHECK), ctx)
    assert observation.outcome is outcome, observation
    assert observation.corroborates is (outcome is Outcome.MATCH)
    assert requests[0].startswith(b"GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: n.example\r\n")


async def test_a_redirect_to_a_refused_place_is_an_error_though_its_body_holds_the_token() -> None:
    response = b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1/\r\nContent-Length: %d\r\n\r\n%s" % (
        len(KEY),
        KEY.encode(),
    )
    async with listening(answering(response)) as port:
        ctx = context({("n.example", "A"): [V4]}, Loopback({(V4, 80): port}))
        observation = await run(request(name("n.example"), CHECK), ctx)
    assert observation.outcome is Outcome.ERROR
    assert observation.errors[0].code == "address.refused"


@pytest.mark.parametrize(("target", "host"), [(V4, b"198.18.0.1"), (V6, b"[2001:db8::1]")])
async def test_an_address_is_asked_without_any_look_up(target: str, host: bytes) -> None:
    requests: list[bytes] = []
    async with listening(answering(ok(KEY.encode()), requests=requests)) as port:
        observation = await run(request(address(target), CHECK), context({}, Loopback({(target, 80): port})))
    assert observation.corroborates
    assert observation.lookups == ()
    assert b"\r\nHost: " + host + b"\r\n" in requests[0]


async def test_a_special_purpose_address_is_not_asked() -> None:
    connector = Loopback({})
    observation = await run(request(address("127.0.0.1"), CHECK), context({}, connector))
    assert (observation.outcome, observation.errors[0].code) == (Outcome.ERROR, "request.refused")
    assert connector.connected == []
