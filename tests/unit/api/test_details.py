"""What one perspective saw, in the forms of the specification."""

from __future__ import annotations

import msgspec

from appliance.api.openmpic.details import CaaDetails, DnsDetails, HttpDetails, Redirect, TlsAlpnDetails, details_of
from appliance.model.check import Method
from appliance.model.observation import (
    CaaFinding,
    CertificateSeen,
    Connection,
    DnssecStatus,
    Hop,
    Lookup,
    Observation,
    Outcome,
    Record,
)


def observed(
    method: Method,
    *,
    lookups: tuple[Lookup, ...] = (),
    hops: tuple[Hop, ...] = (),
    caa: CaaFinding | None = None,
    seen: tuple[str, ...] = (),
) -> Observation:
    return Observation(
        "1", "ams", method, Outcome.MATCH, True, "2026-11-21T12:00:00.000000Z", 1, (), seen, lookups, hops, caa
    )


def test_caa() -> None:
    found = CaaFinding(True, "example.com", ('0 issue "ca.example"',), "permits")
    assert details_of(observed(Method.CAA, caa=found)) == CaaDetails(
        True, "example.com", ('0 issue "ca.example"',), "permits"
    )
    none = CaaFinding(True, None, (), "no CAA records")
    assert details_of(observed(Method.CAA, caa=none)) == CaaDetails(False, None, None, "no CAA records")
    assert details_of(observed(Method.CAA)) == CaaDetails(False, None, None)


def test_http() -> None:
    connected = (
        Connection("2001:db8::1", 80, connected=False, elapsed_us=1),
        Connection("198.51.100.1", 80, connected=True, elapsed_us=1),
    )
    first = Hop("http://example.com/x", connected, 301, "https://example.com/x")
    last = Hop("https://example.com/x", connected, 200, body_prefix="token\u00ff")
    assert details_of(observed(Method.ACME_HTTP_01, hops=(first, last))) == HttpDetails(
        validation_method=Method.ACME_HTTP_01,
        response_history=(Redirect(301, "http://example.com/x", 301, "http://example.com/x"),),
        response_url="https://example.com/x",
        response_status_code=200,
        response_page="token\u00ff",
        resolved_ip="198.51.100.1",
    )
    refused = Hop("http://example.com/x", connected[:1])
    assert details_of(observed(Method.WEBSITE_CHANGE, hops=(refused,))) == HttpDetails(
        Method.WEBSITE_CHANGE, (), "http://example.com/x", None, None, None
    )
    assert details_of(observed(Method.ACME_HTTP_01)) == HttpDetails(Method.ACME_HTTP_01, (), None, None, None, None)


def test_dns() -> None:
    records = (Record("t.example.net", "TXT", 60, '"value"'),)
    chain = (Record("_acme-challenge.example.com", "CNAME", 60, "t.example.net"),)
    look = Lookup("_acme-challenge.example.com", "TXT", "NOERROR", True, DnssecStatus.SECURE, records, chain)
    assert details_of(observed(Method.ACME_DNS_01, lookups=(look,))) == DnsDetails(
        Method.ACME_DNS_01, ('"value"',), 0, True, "t.example.net", ("t.example.net",)
    )
    nothing = Lookup("x.example.com", "TXT", "NXDOMAIN", False, DnssecStatus.INSECURE)
    assert details_of(observed(Method.ACME_DNS_01, lookups=(nothing,))) == DnsDetails(
        Method.ACME_DNS_01, (), 3, False, None, ()
    )
    silent = Lookup("x.example.com", "TXT", None, False, DnssecStatus.INDETERMINATE)
    assert details_of(observed(Method.DNS_CHANGE, lookups=(silent,))) == DnsDetails(
        Method.DNS_CHANGE, (), None, None, None, ()
    )
    odd = Lookup("x.example.com", "TXT", "RCODE23", False, DnssecStatus.INDETERMINATE)
    assert details_of(observed(Method.DNS_CHANGE, lookups=(nothing, odd))) == DnsDetails(
        Method.DNS_CHANGE, (), 23, False, None, ()
    )
    assert details_of(observed(Method.DNS_CHANGE)) == DnsDetails(Method.DNS_CHANGE, (), None, None, None, ())


def test_tls_alpn() -> None:
    seen = observed(Method.ACME_TLS_ALPN_01)
    assert details_of(seen) == TlsAlpnDetails(Method.ACME_TLS_ALPN_01, "")
    certificate = CertificateSeen("00" * 32, "ACME challenge", ("dns:example.com",), "0420" + "00" * 32, True, True)
    named = msgspec.structs.replace(seen, certificate=certificate)
    assert details_of(named) == TlsAlpnDetails(Method.ACME_TLS_ALPN_01, "ACME challenge")


def test_an_rcode_that_a_partner_made_up_is_none() -> None:
    for rcode in ("RCODE\u00b2", "RCODE" + "9" * 5000, "RCODE", "RCODE-1"):
        lookup = Lookup("x.example", "TXT", rcode, ad=False, dnssec=DnssecStatus.INSECURE, elapsed_us=1)
        found = details_of(observed(Method.ACME_DNS_01, lookups=(lookup,)))
        assert isinstance(found, DnsDetails)
        assert found.response_code is None
