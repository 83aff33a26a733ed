"""Each `mpicctl check` command sends a request that the API reads as that method, and nothing else."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.api.openmpic.request import Terms, parse_request
from appliance.cli.client import Coordinator, RequestRefused
from appliance.cli.main import app
from appliance.model.check import CaaCheck, Method, method_of
from tests.unit.exceptions import EXCEPTIONS

DAY = date(2026, 1, 1)
TERMS = Terms(("ca.example",), caller_is_primary=False, day=DAY, exceptions=EXCEPTIONS)
KEY_AUTHORIZATION = "token.thumbprint"
HEX = hashlib.sha256(KEY_AUTHORIZATION.encode()).hexdigest()
EMAIL, PHONE = ["--challenge-value", "a@example.org"], ["--challenge-value", "+1-555-0100"]
COMMANDS: dict[Method, list[str]] = {
    Method.CAA: ["--issuer", "a.example", "--issuer", "b.example", "--allow-lookup-failure"],
    Method.WEBSITE_CHANGE: ["--http-token-path", "a", "--challenge-value", "secret123", "--header", "X-A: b"],
    Method.ACME_HTTP_01: ["--token", "token", "--key-authorization", KEY_AUTHORIZATION],
    Method.ACME_TLS_ALPN_01: ["--key-authorization", KEY_AUTHORIZATION],
    Method.ACME_DNS_01: ["--key-authorization", KEY_AUTHORIZATION],
    Method.DNS_ACCOUNT_01: ["--key-authorization", KEY_AUTHORIZATION, "--acme-account-url", "https://a.example/1"],
    Method.DNS_PERSISTENT: ["--issuer", "ca.example", "--account-uri", "https://a.example/1"],
    Method.DNS_CHANGE: ["--challenge-value", "secret123", "--dns-record-type", "TXT", "--dns-name-prefix", "_dnsauth"],
    Method.CONTACT_EMAIL_CAA: EMAIL,
    Method.CONTACT_EMAIL_TXT: EMAIL,
    Method.CONTACT_PHONE_CAA: PHONE,
    Method.CONTACT_PHONE_TXT: PHONE,
    Method.IP_ADDRESS: ["--challenge-value", "192.0.2.1", "--dns-record-type", "A"],
    Method.REVERSE_ADDRESS_LOOKUP: ["--challenge-value", "www.example.org"],
}


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Bodies that were sent; each is answered with a bare verdict."""
    bodies: list[dict[str, Any]] = []

    def post(self: Coordinator, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/mpic"
        bodies.append(body)
        return {"is_valid": body["domain_or_ip_target"] != "refused.example"}

    monkeypatch.setattr(Coordinator, "post", post)
    return bodies


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--socket", "/nowhere", "check", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def target(method: Method) -> str:
    return "192.0.2.9" if method is Method.REVERSE_ADDRESS_LOOKUP else "www.example.org"


@pytest.mark.parametrize("method", list(Method))
def test_the_request_is_the_methods(method: Method, caught: list[dict[str, Any]]) -> None:
    code, output = run(method.value, target(method), *COMMANDS[method], "--json", "--trace", "t1")
    assert (code, json.loads(output)) == (0, {"is_valid": True})
    question = parse_request(json.dumps(caught[0]).encode(), caller="test", terms=TERMS).question
    assert method_of(question.check) is method
    assert question.trace_identifier == "t1"


def test_options_reach_the_check(caught: list[dict[str, Any]]) -> None:
    run("caa", "www.example.org", *COMMANDS[Method.CAA], "--json")
    run("acme-tls-alpn-01", "www.example.org", *COMMANDS[Method.ACME_TLS_ALPN_01], "--json")
    run("website-change", "www.example.org", *COMMANDS[Method.WEBSITE_CHANGE], "--json")
    caa, alpn, website = caught
    check = parse_request(json.dumps(caa).encode(), caller="test", terms=TERMS).question.check
    assert isinstance(check, CaaCheck)
    assert (check.issuer_domains, check.allow_lookup_failure) == (("a.example", "b.example"), True)
    assert alpn["dcv_check_parameters"]["key_authorization_hash"] == HEX
    assert website["dcv_check_parameters"]["http_headers"] == {"X-A": "b"}


def test_refused_is_exit_code_1(caught: list[dict[str, Any]]) -> None:
    assert run("caa", "refused.example", "--json")[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["acme-dns-01", "a.example"],
        ["acme-dns-01", "a.example", "--key-authorization", "a", "--key-authorization-hash", "b"],
        ["acme-http-01", "a.example", "--token", "t"],
        ["website-change", "a.example", *COMMANDS[Method.WEBSITE_CHANGE], "--header", "none"],
    ],
)
def test_what_cannot_be_asked_is_exit_code_2(words: list[str], caught: list[dict[str, Any]]) -> None:
    assert run(*words)[0] == 2
    assert caught == []


def test_a_400_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(self: Coordinator, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise RequestRefused("HTTP 400: no", ["validation_method: must not"])

    monkeypatch.setattr(Coordinator, "post", post)
    words = ["ip-address", "a.example", *COMMANDS[Method.IP_ADDRESS]]
    code, output = run(*words, "--json")
    assert (code, json.loads(output)) == (2, {"error": "HTTP 400: no", "issues": ["validation_method: must not"]})
    with pytest.raises(RequestRefused, match="must not"):
        run(*words)


def test_methods_tells_the_standing_of_a_day() -> None:
    done = CliRunner().invoke(app, ["methods", "--json", "--on", "2027-03-15"])
    rows = {row["method"]: row for row in json.loads(done.output)["methods"]}
    assert set(rows) == set(map(str, Method))
    standing = {method: row["standing"] for method, row in rows.items() if row["standing"] != "permitted"}
    assert standing == {
        "contact-email-caa": "discouraged",
        "contact-email-txt": "discouraged",
        "contact-phone-caa": "forbidden",
        "contact-phone-txt": "forbidden",
        "ip-address": "forbidden",
        "reverse-address-lookup": "forbidden",
    }
    assert rows["ip-address"]["domain_section"] == "3.2.2.4.8"
    table = CliRunner().invoke(app, ["methods"]).output
    assert all(method in table for method in rows)
