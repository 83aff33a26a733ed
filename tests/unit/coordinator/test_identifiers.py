"""A caller's text becomes a canonical identifier, or is refused for a reason that names what is wrong."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.coordinator.identifiers import parse_identifier, to_validate
from appliance.errors import BadRequest
from appliance.model.identifier import IdentifierType
from appliance.net import special_use_registry as registry
from appliance.net.validatable import NONE, Exceptions
from tests.unit.exceptions import EXCEPTIONS

LDH = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@pytest.mark.parametrize(
    ("text", "value", "wildcard"),
    [
        ("example.com", "example.com", False),
        ("EXAMPLE.com.", "example.com", False),
        ("*.Example.COM", "example.com", True),
        ("bücher.example", "xn--bcher-kva.example", False),
        ("faß.example", "xn--fa-hia.example", False),
        ("\uff25XAMPLE\uff0ecom", "example.com", False),
        ("*.例え.jp", "xn--r8jz45g.jp", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", False),
        ("xn--ls8h.la", "xn--ls8h.la", False),
        ("a" * 63 + ".example", "a" * 63 + ".example", False),
        ("1.example", "1.example", False),
    ],
)
def test_names(text: str, value: str, wildcard: bool) -> None:
    found = parse_identifier(text)
    assert (found.type, found.value, found.wildcard, found.requested) == (IdentifierType.DNS, value, wildcard, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_addresses(text: str, value: str) -> None:
    found = parse_identifier(text)
    assert (found.type, found.wildcard) == (IdentifierType.IP, False)
    assert ipaddress.ip_address(found.value) == ipaddress.ip_address(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a" * 2000, "longer than"),
        (" example.com", "white space"),
        ("example.com\n", "white space"),
        ("exa\u0000mple.com", "control"),
        ("http://example.com/", "URL"),
        ("user@example.com", "user information"),
        ("example.com/path", "path"),
        ("192.0.2.0/24", "prefix"),
        ("example.com?x", "query"),
        ("example.com#x", "fragment"),
        ("example.com:443", "port"),
        ("192.0.2.1:80", "port"),
        ("[2001:db8::1]", "brackets"),
        ("[2001:db8::1]:443", "brackets"),
        ("fe80::1%eth0", "zone"),
        ("2001:db8::1::2", "colon"),
        ("192.0.2.01", "numeric label"),
        ("127.1", "numeric label"),
        ("0x7f000001", "single label"),
        ("com", "single label"),
        ("*.com", "single label"),
        ("*.192.0.2.1", "numeric label"),
        ("*", "asterisk"),
        ("*.*.example.com", "asterisk"),
        ("www.*.example.com", "asterisk"),
        ("w*.example.com", "asterisk"),
        (".", "empty label"),
        ("example..com", "empty label"),
        (".example.com", "empty label"),
        ("example.com..", "empty label"),
        ("a" * 64 + ".example", "at most 63"),
        (".".join(["a" * 60] * 5) + ".example", "at most 253"),
        ("_dmarc.example.com", "underscore"),
        ("-a.example", "hyphens"),
        ("a-.example", "hyphens"),
        ("a b.example", "white space"),
        ("ab--c.example", "reserved LDH"),
        ("xn--\u00fc.example", "internationalised"),
        ("xn--99999999.example", "Punycode"),
        ("xn--abc-.example", "hyphens"),
        ("☃.example", "internationalised"),
        ("ex\u202eample.com", "control"),
        ("a\u200db.example", "internationalised"),
    ],
)
def test_what_is_refused_says_why(text: str, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_identifier(text)
    assert refused.value.field == "domain_or_ip_target"
    assert why in refused.value.rule
    assert len(refused.value.rule) < 400


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9é.:*_\-]{1,80}", fullmatch=True))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    try:
        found = parse_identifier(text)
    except BadRequest:
        return
    if found.type is IdentifierType.IP:
        assert ipaddress.ip_address(found.value).compressed == found.value
    else:
        assert len(found.value) <= 253
        assert found.value.count(".") >= 1
        assert all(LDH.fullmatch(label) for label in found.value.split("."))
        assert parse_identifier(found.value).value == found.value


EVERY = [name for name, _ in (*registry.FOR_TESTS, *registry.NEVER_EXCEPTED)]
RESERVED = [
    "host.internal",
    "a.b.c.x.alt",
    "router.home.arpa",
    "home.arpa",
    "printer.local",
    "hidden.onion",
    "x.localhost",
    "x.invalid",
    "*.host.internal",
    "80.20.18.198.in-addr.arpa",
    "*.20.18.198.in-addr.arpa",
    "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "x.service.arpa",
    "dns.resolver.arpa",
    "x.6tisch.arpa",
    "eap.arpa",
    "x.ipv4only.arpa",
]
FOR_TESTS = ["x.test", "a.b.example", "www.example.com", "example.net", "*.EXAMPLE.org"]
ADDRESSES = [
    "10.0.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "fe80::1",
    "fc00::1",
    "::ffff:1.2.3.4",
    "64:ff9b::102:304",
    "2002:102:304::1",
    "2001:db8::1",
    "ff02::1",
    "3fff::1",
]


@pytest.mark.parametrize("text", [*RESERVED, *FOR_TESTS, *ADDRESSES])
def test_what_nobody_can_show_control_of_is_refused(text: str) -> None:
    parse_identifier(text)  # its form is right
    with pytest.raises(BadRequest) as refused:
        to_validate(text, NONE)
    assert refused.value.field == "domain_or_ip_target"
    assert "nobody can show control" in refused.value.rule


@pytest.mark.parametrize("text", FOR_TESTS)
def test_names_for_tests_can_be_excepted(text: str) -> None:
    assert to_validate(text, EXCEPTIONS).requested == text


@pytest.mark.parametrize("text", RESERVED)
def test_other_reserved_names_can_not(text: str) -> None:
    with pytest.raises(BadRequest):
        to_validate(text, Exceptions(names=tuple(EVERY)))


@pytest.mark.parametrize("text", ["xexample.com", "internal.com", "test.net", "www.arpa.net", "as112.arpa", "1.1.1.1"])
def test_names_and_addresses_beside_them_are_not(text: str) -> None:
    assert to_validate(text, NONE).value == text
