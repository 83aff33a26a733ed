"""Every validation method's parameters become its check, as the specification and its reference implementation send them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from appliance.api.errors import Malformed
from appliance.api.openmpic.request import Terms, parse_request
from appliance.model.check import (
    AcmeDns01Check,
    AcmeHttp01Check,
    AcmeTlsAlpn01Check,
    AddressType,
    AnyCheck,
    CaaCheck,
    CertificateType,
    ContactEmailCaaCheck,
    ContactEmailTxtCheck,
    ContactPhoneCaaCheck,
    ContactPhoneTxtCheck,
    DnsAccount01Check,
    DnsChangeCheck,
    DnsChangeType,
    DnsPersistentCheck,
    IpAddressCheck,
    Method,
    ReverseAddressLookupCheck,
    UrlScheme,
    WebsiteChangeCheck,
    method_of,
)
from tests.unit.exceptions import EXCEPTIONS

# Before BR 3.2.2.4.8 must no longer be relied on.
TERMS = Terms(("ca.example",), caller_is_primary=False, day=date(2026, 1, 1), exceptions=EXCEPTIONS)
HASH = "ghRCE7ZwHKjsEHvFqGPnZpHcVwzV7cwFJrYmuFxAWcU"
URI = "https://ca.example/acct/1"

OPTIONAL = {
    "url_scheme",
    "match_regex",
    "http_headers",
    "dns_name_prefix",
    "require_exact_match",
    "require_exact_case",
    "dns_record_type",
}
METHODS: list[tuple[dict[str, Any], AnyCheck]] = [
    (
        {
            "validation_method": "website-change",
            "challenge_value": "secret123",
            "http_token_path": "challenge.html",
            "url_scheme": "https",
            "http_headers": {"X-A": "b"},
            "match_regex": None,
            "require_exact_case": True,
        },
        WebsiteChangeCheck("challenge.html", "secret123", UrlScheme.HTTPS, None, (("X-A", "b"),)),
    ),
    (
        {
            "validation_method": "acme-http-01",
            "token": "t",
            "key_authorization": "t.k",
            "http_headers": None,
            "require_exact_case": True,
        },
        AcmeHttp01Check("t", "t.k"),
    ),
    (
        {"validation_method": "acme-tls-alpn-01", "key_authorization_hash": "ab" * 32, "require_exact_case": False},
        AcmeTlsAlpn01Check("ab" * 32),
    ),
    (
        {
            "validation_method": "acme-dns-01",
            "key_authorization_hash": HASH,
            "dns_record_type": "TXT",
            "dns_name_prefix": "_acme-challenge",
            "require_exact_case": True,
        },
        AcmeDns01Check(HASH),
    ),
    (
        {"validation_method": "dns-account-01", "key_authorization_hash": HASH, "acme_account_url": URI},
        DnsAccount01Check(HASH, URI),
    ),
    (
        {
            "validation_method": "dns-persistent",
            "issuer_domain_names": ["ca.example"],
            "expected_account_uri": URI,
            "dns_record_type": "TXT",
            "dns_name_prefix": "_validation-persist",
            "require_exact_case": False,
        },
        DnsPersistentCheck(("ca.example",), URI),
    ),
    (
        {
            "validation_method": "dns-change",
            "challenge_value": "secret123",
            "dns_record_type": "TXT",
            "dns_name_prefix": "_dcv",
            "require_exact_match": True,
            "require_exact_case": True,
        },
        DnsChangeCheck("secret123", DnsChangeType.TXT, "_dcv", require_exact_match=True),
    ),
    (
        {
            "validation_method": "dns-change",
            "challenge_value": "secret123",
            "dns_record_type": "CNAME",
            "dns_name_prefix": None,
            "require_exact_case": False,
        },
        DnsChangeCheck("secret123", DnsChangeType.CNAME),
    ),
    (
        {
            "validation_method": "contact-email-caa",
            "challenge_value": "a@b.example",
            "dns_name_prefix": None,
            "dns_record_type": "CAA",
            "require_exact_case": False,
        },
        ContactEmailCaaCheck("a@b.example"),
    ),
    (
        {
            "validation_method": "contact-email-txt",
            "challenge_value": "a@b.example",
            "dns_name_prefix": "_validation-contactemail",
            "dns_record_type": "TXT",
        },
        ContactEmailTxtCheck("a@b.example"),
    ),
    ({"validation_method": "contact-phone-caa", "challenge_value": "+43.1.234"}, ContactPhoneCaaCheck("+43.1.234")),
    (
        {
            "validation_method": "contact-phone-txt",
            "challenge_value": "+43.1.234",
            "dns_name_prefix": "_validation-contactphone",
        },
        ContactPhoneTxtCheck("+43.1.234"),
    ),
    (
        {"validation_method": "ip-address", "challenge_value": "192.0.2.1", "dns_record_type": "A"},
        IpAddressCheck("192.0.2.1", AddressType.A),
    ),
    (
        {"validation_method": "reverse-address-lookup", "challenge_value": "host.example", "dns_record_type": "PTR"},
        ReverseAddressLookupCheck("host.example"),
    ),
]


def parsed(document: dict[str, Any]) -> AnyCheck:
    return parse_request(json.dumps(document).encode(), caller="test", terms=TERMS).question.check


def dcv(parameters: dict[str, Any]) -> dict[str, Any]:
    reverse = parameters.get("validation_method") == "reverse-address-lookup"
    target = "192.0.2.1" if reverse else "example.com"
    return {"check_type": "dcv", "domain_or_ip_target": target, "dcv_check_parameters": parameters}


@pytest.mark.parametrize(("parameters", "check"), METHODS)
def test_each_method(parameters: dict[str, Any], check: AnyCheck) -> None:
    assert parsed(dcv(parameters)) == check


def test_every_method_is_offered() -> None:
    assert {method_of(check) for _, check in METHODS} | {Method.CAA} == set(Method)


@pytest.mark.parametrize("parameters", [parameters for parameters, _ in METHODS])
def test_unknown_and_missing_members_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as refused:
        parsed(dcv(parameters | {"surprise": 1}))
    assert [issue.field for issue in refused.value.body.validation_issues] == ["dcv_check_parameters.surprise"]
    for name in set(parameters) - OPTIONAL:
        with pytest.raises(Malformed) as missing:
            parsed(dcv({key: value for key, value in parameters.items() if key != name}))
        assert f"dcv_check_parameters.{name}" in [issue.field for issue in missing.value.body.validation_issues]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"validation_method": "dns-change", "challenge_value": "v", "dns_record_type": "A"}, "dns_record_type"),
        ({"validation_method": "ip-address", "challenge_value": "v", "dns_record_type": "TXT"}, "dns_record_type"),
        (
            {"validation_method": "website-change", "challenge_value": "v", "http_token_path": "../x"},
            "http_token_path",
        ),
        (METHODS[0][0] | {"url_scheme": "ftp"}, "url_scheme"),
        (METHODS[0][0] | {"require_exact_case": False}, "require_exact_case"),
        (METHODS[2][0] | {"key_authorization_hash": HASH}, "key_authorization_hash"),
    ],
)
def test_wrong_values_name_the_field(parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed) as refused:
        parsed(dcv(parameters))
    assert f"dcv_check_parameters.{field}" in [issue.field for issue in refused.value.body.validation_issues]


def test_case_is_asked_for_as_the_record_type_has_it() -> None:
    for parameters in (METHODS[6][0] | {"require_exact_case": False}, METHODS[7][0] | {"require_exact_case": True}):
        with pytest.raises(Malformed, match="400"):
            parsed(dcv(parameters))


def test_a_method_that_must_not_be_relied_on_is_refused_from_its_day() -> None:
    parameters = next(one for one, check in METHODS if isinstance(check, IpAddressCheck))
    later = Terms(("ca.example",), caller_is_primary=False, day=date(2026, 3, 15), exceptions=EXCEPTIONS)
    with pytest.raises(Malformed) as refused:
        parse_request(json.dumps(dcv(parameters)).encode(), caller="test", terms=later)
    (issue,) = refused.value.body.validation_issues
    assert issue.field == "dcv_check_parameters.validation_method"
    assert "2026-03-15" in issue.msg


def test_caa() -> None:
    base = {"check_type": "caa", "domain_or_ip_target": "example.com"}
    assert parsed(base) == CaaCheck(CertificateType.TLS_SERVER, ("ca.example",))
    assert parsed(base | {"caa_check_parameters": {"caa_domains": []}}) == parsed(base)
    full = {
        "certificate_type": "s-mime",
        "caa_domains": ["Other.Example"],
        "allow_lookup_failure": True,
        "account_uri": URI,
        "validation_method": "http-01",
    }
    expected = CaaCheck(CertificateType.S_MIME, ("other.example",), URI, "http-01", allow_lookup_failure=True)
    assert parsed(base | {"caa_check_parameters": full}) == expected


def test_the_configuration_may_leave_rfc_8657_to_the_caller() -> None:
    terms = Terms(
        ("ca.example",), caller_is_primary=False, day=date(2026, 1, 1), parameters_to_caller=True, exceptions=EXCEPTIONS
    )
    body = json.dumps({"check_type": "caa", "domain_or_ip_target": "example.com"}).encode()
    check = parse_request(body, caller="test", terms=terms).question.check
    assert isinstance(check, CaaCheck)
    assert check.parameters_to_caller


FORBIDDEN = {
    date(2026, 12, 15): {"ip-address"},
    date(2027, 3, 15): {"ip-address", "contact-phone-caa", "contact-phone-txt", "reverse-address-lookup"},
    date(2028, 3, 15): {
        "ip-address", "contact-phone-caa", "contact-phone-txt", "reverse-address-lookup",
        "contact-email-caa", "contact-email-txt",
    },
}  # fmt: skip


@pytest.mark.parametrize("day", FORBIDDEN)
def test_on_later_days_exactly_the_forbidden_methods_are_refused(day: date) -> None:
    refused = set()
    for parameters, check in METHODS:
        try:
            parse_request(
                json.dumps(dcv(parameters)).encode(),
                caller="test",
                terms=Terms(("ca.example",), caller_is_primary=False, day=day, exceptions=EXCEPTIONS),
            )
        except Malformed as error:
            (issue,) = error.body.validation_issues
            assert issue.field == "dcv_check_parameters.validation_method"
            assert "2.2.6" in issue.msg
            assert "BR 3.2.2." in issue.msg
            refused.add(method_of(check).value)
    assert refused == FORBIDDEN[day]
