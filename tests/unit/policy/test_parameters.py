"""Which requests are a 400, and which parameter is named."""

from __future__ import annotations

from datetime import date

import pytest

from appliance.model.check import (
    AcmeDns01Check,
    AcmeHttp01Check,
    AcmeTlsAlpn01Check,
    AddressType,
    AnyCheck,
    CaaCheck,
    CertificateType,
    ContactEmailTxtCheck,
    ContactPhoneCaaCheck,
    DnsAccount01Check,
    DnsChangeCheck,
    DnsChangeType,
    DnsPersistentCheck,
    IpAddressCheck,
    ReverseAddressLookupCheck,
    UrlScheme,
    WebsiteChangeCheck,
)
from appliance.model.identifier import Identifier, IdentifierType
from appliance.policy.parameters import check_problems

DAY = date(2026, 2, 1)
NAME = Identifier(IdentifierType.DNS, "n.example", False, "n.example")
ADDRESS = Identifier(IdentifierType.IP, "198.18.0.1", False, "198.18.0.1")
DIGEST = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
TXT = DnsChangeType.TXT

GOOD: list[tuple[AnyCheck, Identifier]] = [
    (CaaCheck(CertificateType.TLS_SERVER, ("ca.example",)), NAME),
    (WebsiteChangeCheck("a/b.txt", "secret123", match_regex="^secret123$"), NAME),
    (WebsiteChangeCheck("token.html", "12345678"), ADDRESS),
    (WebsiteChangeCheck("pki-validation.txt", "validation-0f3a"), NAME),
    (WebsiteChangeCheck("a", "50% of secret123"), NAME),
    (AcmeHttp01Check("token", "token.key", (("User-Agent", "x"),)), NAME),
    (AcmeDns01Check(DIGEST, "target.ca.example"), NAME),
    (DnsAccount01Check(DIGEST, "https://ca.example/acct/1"), NAME),
    (AcmeTlsAlpn01Check("ab" * 32), ADDRESS),
    (DnsPersistentCheck(("ca.example",), "https://ca.example/acct/1"), ADDRESS),
    (DnsChangeCheck("secret123", TXT, "_dcv"), NAME),
    (DnsChangeCheck("secret123", DnsChangeType.CNAME), NAME),
    (DnsChangeCheck("v.ca.ex", DnsChangeType.CNAME, "", True), NAME),
    (ContactEmailTxtCheck("a@b.example"), NAME),
    (ContactPhoneCaaCheck("+1-555-0100"), NAME),
    (IpAddressCheck("198.18.0.1", AddressType.A), NAME),
    (ReverseAddressLookupCheck("n.example."), ADDRESS),
]


@pytest.mark.parametrize(("check", "identifier"), GOOD)
def test_good_requests(check: AnyCheck, identifier: Identifier) -> None:
    assert check_problems(check, identifier, DAY) == []


@pytest.mark.parametrize(
    ("check", "field"),
    [
        *[
            (WebsiteChangeCheck(path, "secret123"), "http_token_path")
            for path in [
                "",
                "/a",
                "a//b",
                "../a",
                "a/..",
                "./a",
                "a?b",
                "a#b",
                "http:x",
                "a%2e",
                "a b",
                "a\\b",
                "a\n",
                "x/secret123",
                "x/SECRET123.txt",
                "secret/123",
                "é",
            ]
        ],
        *[
            # What is sent in every request: the path, the host, the port, the scheme and our own header fields.
            (WebsiteChangeCheck("a", value, scheme), "challenge_value")
            for scheme, value in [
                (UrlScheme.HTTP, "pki-validation"),
                (UrlScheme.HTTP, "PKI-Validation"),
                (UrlScheme.HTTP, "/.well-known/"),
                (UrlScheme.HTTP, "pki%2Dvalidation"),
                (UrlScheme.HTTP, "pki%252dvalidation"),
                (UrlScheme.HTTP, "pki+validation"),
                (UrlScheme.HTTP, "&#112;ki-validation"),
                (UrlScheme.HTTP, "n.example"),
                (UrlScheme.HTTP, "n.example:80"),
                (UrlScheme.HTTPS, "n.example:443"),
                (UrlScheme.HTTPS, "https://n"),
                (UrlScheme.HTTP, "HTTP/1.1"),
                (UrlScheme.HTTP, "identity"),
                (UrlScheme.HTTP, "connection"),
            ]
        ],
        (WebsiteChangeCheck("a", "short12"), "challenge_value"),
        (WebsiteChangeCheck("a", "  short12  "), "challenge_value"),
        (WebsiteChangeCheck("a", "%" + "25" * 9 + "41 secret123"), "challenge_value"),
        (WebsiteChangeCheck("a", "secret123", http_headers=(("X-A", "%" + "25" * 500 + "41"),)), "http_headers"),
        (WebsiteChangeCheck("a", "secret123", http_headers=(("X-A", "the %53ecret123"),)), "http_headers"),
        (WebsiteChangeCheck("a", "secret123", http_headers=(("X-Secret123", "1"),)), "http_headers"),
        (WebsiteChangeCheck("a", ""), "challenge_value"),
        (WebsiteChangeCheck("a", "  "), "challenge_value"),
        (WebsiteChangeCheck("a", "v" * 2000), "challenge_value"),
        (WebsiteChangeCheck("a", "secret123", match_regex="(a"), "match_regex"),
        (WebsiteChangeCheck("a", "secret123", http_headers=(("X-A", "the secret123"),)), "http_headers"),
        (AcmeHttp01Check("token", "token"), "key_authorization"),
        (AcmeHttp01Check("token", "OKE"), "key_authorization"),
        (AcmeHttp01Check("../token", "x"), "token"),
        (AcmeHttp01Check("to ken", "x"), "token"),
        (AcmeHttp01Check("", "x"), "token"),
        (AcmeHttp01Check("token", ""), "key_authorization"),
        (AcmeHttp01Check("token", " \n"), "key_authorization"),
        (AcmeHttp01Check("token", "x "), "key_authorization"),
        (AcmeHttp01Check("token", "é"), "key_authorization"),
        *[
            (AcmeHttp01Check("token", "x", headers), "http_headers")
            for headers in [
                (("Host", "x"),),
                (("hOST", "x"),),
                (("Connection", "keep-alive"),),
                (("Transfer-Encoding", "chunked"),),
                (("Content-Length", "0"),),
                (("Proxy-Authorization", "x"),),
                (("Cookie", "a=b"),),
                (("X Y", "z"),),
                (("X", "a\r\nb"),),
                (("X", "é"),),
                (("X", "1"), ("x", "2")),
                tuple((f"X-{i}", "1") for i in range(17)),
            ]
        ],
        (AcmeDns01Check(DIGEST + "="), "key_authorization_hash"),
        (AcmeDns01Check(""), "key_authorization_hash"),
        (AcmeDns01Check(DIGEST, "a b"), "delegation_target"),
        (DnsAccount01Check(DIGEST, "no url"), "acme_account_url"),
        (AcmeTlsAlpn01Check("AB" * 32), "key_authorization_hash"),
        (AcmeTlsAlpn01Check("ab" * 31), "key_authorization_hash"),
        (DnsPersistentCheck((), "https://ca.example/1"), "issuer_domain_names"),
        (DnsPersistentCheck(("",), "https://ca.example/1"), "issuer_domain_names"),
        (DnsPersistentCheck(("ca.example",), "https://ca.example/1;x"), "expected_account_uri"),
        (DnsChangeCheck("", TXT), "challenge_value"),
        (DnsChangeCheck("v=spf1 ", TXT), "challenge_value"),
        (DnsChangeCheck("N.Example", DnsChangeType.CNAME, "_dcv"), "challenge_value"),
        (DnsChangeCheck("_dcv-of-n", DnsChangeType.CNAME, "_dcv-of-n"), "challenge_value"),
        (DnsChangeCheck("secret123", TXT, "dcv"), "dns_name_prefix"),
        (DnsChangeCheck("secret123", TXT, "_a.b"), "dns_name_prefix"),
        (DnsChangeCheck("secret123", TXT, "_" + "a" * 63), "dns_name_prefix"),
        (DnsChangeCheck("secret123", DnsChangeType.CNAME, "", False, "t.ca.example"), "delegation_target"),
        (ContactEmailTxtCheck("a.example"), "challenge_value"),
        (ContactEmailTxtCheck("a b@c.example"), "challenge_value"),
        (ContactPhoneCaaCheck("555-0100"), "challenge_value"),
        (ContactPhoneCaaCheck("+-"), "challenge_value"),
        (IpAddressCheck("::1", AddressType.A), "challenge_value"),
        (IpAddressCheck("x", AddressType.AAAA), "challenge_value"),
    ],
)
def test_bad_parameters(check: AnyCheck, field: str) -> None:
    assert [name for name, _ in check_problems(check, NAME, DAY)] == [field]


def test_a_method_that_is_forbidden_or_not_for_the_identifier() -> None:
    check = IpAddressCheck("198.18.0.1", AddressType.A)
    assert [name for name, _ in check_problems(check, NAME, date(2026, 3, 15))] == ["validation_method"]
    wildcard = Identifier(IdentifierType.DNS, "n.example", True, "*.n.example")
    assert [name for name, _ in check_problems(AcmeHttp01Check("t", "k"), wildcard, DAY)] == ["domain_or_ip_target"]
    assert [name for name, _ in check_problems(AcmeDns01Check(DIGEST), ADDRESS, DAY)] == ["domain_or_ip_target"]
