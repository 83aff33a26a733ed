"""The conformance table: for each rule a target in the lab, and what all perspectives have to say of it."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

from tests.conformance.row import PASS, Row, caa, dcv
from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN
from tests.hostile.addresses import TLS

_SHA256: Final = sha256(KEY_AUTHORIZATION.encode()).digest()
DIGEST: Final = urlsafe_b64encode(_SHA256).rstrip(b"=").decode()
HEX_DIGEST: Final = _SHA256.hex()
ACCOUNT: Final = "https://ca.example/acct/1"
VALUE: Final = "the-value"


def _change(rdtype: str, **parameters: Any) -> dict[str, Any]:
    return dcv("dns-change", challenge_value=VALUE, dns_record_type=rdtype, **parameters)


def _no(method: str) -> str:
    return f"validation:{method}"


_HTTP_01 = dcv("acme-http-01", token=TOKEN, key_authorization=KEY_AUTHORIZATION)
_DNS_01 = dcv("acme-dns-01", key_authorization_hash=DIGEST)
_DELEGATED = dcv("acme-dns-01", key_authorization_hash=DIGEST, delegation_target="account-1.validation.ca.test")
_ACCOUNT_01 = dcv("dns-account-01", key_authorization_hash=DIGEST, acme_account_url=ACCOUNT)
_ALPN = dcv("acme-tls-alpn-01", key_authorization_hash=HEX_DIGEST)
_PERSISTENT = dcv("dns-persistent", issuer_domain_names=["ca.example"], expected_account_uri=ACCOUNT)
_WEBSITE = dcv("website-change", http_token_path="file.txt", challenge_value=VALUE)
_EMAIL = "admin@check.test"
_PHONE = "+1 555 0100".replace(" ", "-")

_HTTP: Final = (
    Row("the key authorization is served", "RFC 8555 8.3", "web.check.test", _HTTP_01, PASS),
    Row("the same for an IPv4 address", "BR 3.2.2.5.6", "198.18.20.80", _HTTP_01, PASS),
    Row("the same for an IPv6 address", "BR 3.2.2.5.6", "2001:db8:20::80", _HTTP_01, PASS),
    Row("the same for an internationalised name", "IDNA 2008", "bücher.check.test", _HTTP_01, PASS),
    Row("trailing white space is stripped", "RFC 8555 8.3", "space.check.test", _HTTP_01, PASS),
    Row("nothing else is", "RFC 8555 8.3", "plainmiss.check.test", _HTTP_01, _no("acme-http-01")),
    Row("a body need not be text", "RFC 8555 8.3", "binary.check.test", _HTTP_01, _no("acme-http-01")),
    Row("it may come in many packets", "RFC 9112 6", "pieces.hostile.check.test", _HTTP_01, PASS),
    Row("the final status is 2xx", "BR 3.2.2.4.19", "other.check.test", _HTTP_01, _no("acme-http-01")),
    Row("302 to https is followed", "BR 3.2.2.4.19", "redir.check.test", _HTTP_01, PASS),
    Row("303 is not", "BR 3.2.2.4.19", "redir303.check.test", _HTTP_01, _no("acme-http-01")),
    Row("no port but 80 and 443", "BR 3.2.2.4.19", "redirport.check.test", _HTTP_01, "target:http.redirect.refused"),
    Row(
        "no scheme but http and https",
        "BR 3.2.2.4.19",
        "redirscheme.check.test",
        _HTTP_01,
        "target:http.redirect.refused",
    ),
    Row("no redirect to this host", "RFC 6890", "redirlocal.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact with 127.0.0.1", "RFC 6890", "loopback.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact with ::1", "RFC 6890", "loopback6.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact with 10.0.0.1", "RFC 6890", "private.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact by a v4-mapped address", "RFC 6890", "mapped.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact by NAT64", "RFC 6052", "nat64.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact by 6to4", "RFC 3056", "sixtofour.check.test", _HTTP_01, "target:address.refused"),
    Row("no contact by way of a CNAME", "RFC 6890", "toloopback.check.test", _HTTP_01, "target:address.refused"),
    Row("a name without addresses", "RFC 8555 8.3", "none.check.test", _HTTP_01, "target:dns.no-address"),
    Row("the value is in the page", "BR 3.2.2.4.18", "web.check.test", _WEBSITE, PASS),
    Row("the value is in an address's page", "BR 3.2.2.5.1", "198.18.20.80", _WEBSITE, PASS),
    Row("the page is not there", "BR 3.2.2.4.18", "other.check.test", _WEBSITE, _no("website-change")),
    Row("the value is in the URL, encoded", "BR 3.2.2.4.18", "reflect.check.test", _WEBSITE, _no("website-change")),
    Row("the same, encoded twice", "BR 3.2.2.4.18", "reflecttwice.check.test", _WEBSITE, _no("website-change")),
    Row(
        "the same, with a dot segment",
        "BR 3.2.2.4.18",
        "reflectpath.check.test",
        dcv("website-change", http_token_path="file.txt", challenge_value="the/-/value"),
        _no("website-change"),
    ),
    Row(
        "the value is the host's U-label",
        "BR 3.2.2.4.18",
        "reflecthost.check.test",
        dcv("website-change", http_token_path="file.txt", challenge_value="bücher.check.test"),
        _no("website-change"),
    ),
)
_TLS: Final = (
    Row("the challenge certificate", "RFC 8737 3", "alpn.hostile.check.test", _ALPN, PASS),
    Row("the same for an address", "RFC 8738 6", str(TLS["alpn-address"].v4), _ALPN, PASS),
    Row("another digest", "RFC 8737 3", "alpn-digest.hostile.check.test", _ALPN, _no("acme-tls-alpn-01")),
    Row("two names", "RFC 8737 3", "alpn-names.hostile.check.test", _ALPN, _no("acme-tls-alpn-01")),
    Row("not critical", "RFC 8737 3", "alpn-lax.hostile.check.test", _ALPN, _no("acme-tls-alpn-01")),
    Row("not self-signed", "RFC 8737 3", "alpn-issued.hostile.check.test", _ALPN, _no("acme-tls-alpn-01")),
    Row("ALPN not negotiated", "RFC 8737 3", "alpn-none.hostile.check.test", _ALPN, _no("acme-tls-alpn-01")),
)
_DNS: Final = (
    Row("one of several TXT records", "RFC 8555 8.4", "txt.check.test", _DNS_01, PASS),
    Row("a wildcard's label is left out", "RFC 8555 8.4", "*.txt.check.test", _DNS_01, PASS),
    Row("strings are joined", "RFC 7208 3.3", "split.check.test", _DNS_01, PASS),
    Row("case counts", "RFC 8555 8.4", "case.check.test", _DNS_01, _no("acme-dns-01")),
    Row("white space counts", "RFC 8555 8.4", "spaced.check.test", _DNS_01, _no("acme-dns-01")),
    Row("a CNAME is followed", "BR 3.2.2.4.7", "cname.check.test", _DNS_01, PASS),
    Row("ten CNAMEs are too many", "configuration", "long.check.test", _DNS_01, "target:dns.chain.too-long"),
    Row("no record", "RFC 8555 8.4", "web.check.test", _DNS_01, _no("acme-dns-01")),
    Row("the CA's zone, at the applicant's name", "BR 3.2.2.4.7", "delegated.check.test", _DELEGATED, PASS),
    Row("the CA's zone, at another's name", "BR 3.2.2.4.7", "stolen.check.test", _DELEGATED, _no("acme-dns-01")),
    Row("the CA's zone, no name given", "BR 3.2.2.4.7", "delegated.check.test", _DNS_01, _no("acme-dns-01")),
    Row("special-purpose glue is not asked", "RFC 6890", "x.glue.check.test", _DNS_01, "target:dns.servfail"),
    Row("signatures that do not hold", "BR 3.2.2.4", "www.bogus.example", _DNS_01, "target:dns.bogus"),
    Row("the account's own label", "BR 3.2.2.4.21", "txt.check.test", _ACCOUNT_01, PASS),
    Row("case counts there too", "BR 3.2.2.4.21", "case.check.test", _ACCOUNT_01, _no("dns-account-01")),
    Row("issuer and account", "BR 3.2.2.4.22", "txt.check.test", _PERSISTENT, PASS),
    Row("before persistUntil", "BR 3.2.2.4.22", "until.check.test", _PERSISTENT, PASS),
    Row("past persistUntil", "BR 3.2.2.4.22", "past.check.test", _PERSISTENT, _no("dns-persistent")),
    Row("a doubled parameter", "RFC 8659 4.2", "doubled.check.test", _PERSISTENT, _no("dns-persistent")),
    Row("another issuer", "BR 3.2.2.4.22", "other.check.test", _PERSISTENT, _no("dns-persistent")),
    Row("another account", "BR 3.2.2.4.22", "account.check.test", _PERSISTENT, _no("dns-persistent")),
    Row("persistent, of an address", "BR 3.2.2.5.8", "198.18.20.80", _PERSISTENT, PASS),
    Row("a part of a TXT record", "BR 3.2.2.4.7", "txt.check.test", _change("TXT"), PASS),
    Row(
        "the whole, asked for",
        "BR 3.2.2.4.7",
        "txt.check.test",
        _change("TXT", require_exact_match=True),
        _no("dns-change"),
    ),
    Row(
        "an underscore label",
        "BR 3.2.2.4.7",
        "txt.check.test",
        _change("TXT", dns_name_prefix="_dnsauth", require_exact_match=True),
        PASS,
    ),
    Row(
        "case counts in TXT",
        "BR 3.2.2.4.7",
        "upper.check.test",
        _change("TXT", dns_name_prefix="_dnsauth"),
        _no("dns-change"),
    ),
    Row("a CNAME's target", "BR 3.2.2.4.7", "alias.check.test", _change("CNAME", dns_name_prefix="_dnsauth"), PASS),
    Row("a CAA record's value", "BR 3.2.2.4.7", "caa.check.test", _change("CAA", dns_name_prefix="_dnsauth"), PASS),
)
_CONTACTS: Final = (
    Row(
        "contactemail, local part exactly",
        "BR A.1.1",
        "contact.check.test",
        dcv("contact-email-caa", challenge_value="Admin@CHECK.test"),
        PASS,
    ),
    Row(
        "another local part",
        "BR A.1.1",
        "contact.check.test",
        dcv("contact-email-caa", challenge_value=_EMAIL),
        _no("contact-email-caa"),
    ),
    Row(
        "contactemail climbs",
        "RFC 8659 3",
        "www.contact.check.test",
        dcv("contact-email-caa", challenge_value="Admin@check.test"),
        PASS,
    ),
    Row("contact in TXT", "BR A.2.1", "contact.check.test", dcv("contact-email-txt", challenge_value=_EMAIL), PASS),
    Row(
        "contact in TXT does not climb",
        "BR A.2.1",
        "www.contact.check.test",
        dcv("contact-email-txt", challenge_value=_EMAIL),
        _no("contact-email-txt"),
    ),
    Row("contactphone", "BR A.1.2", "contact.check.test", dcv("contact-phone-caa", challenge_value="+15550100"), PASS),
    Row("phone in TXT", "BR A.2.2", "contact.check.test", dcv("contact-phone-txt", challenge_value=_PHONE), PASS),
    Row(
        "another number",
        "BR A.2.2",
        "contact.check.test",
        dcv("contact-phone-txt", challenge_value="+15550101"),
        _no("contact-phone-txt"),
    ),
    Row(
        "an address points to the name",
        "BR 3.2.2.5.3",
        "198.18.20.80",
        dcv("reverse-address-lookup", challenge_value="Web.check.test"),
        PASS,
    ),
    Row(
        "it points to another",
        "BR 3.2.2.5.3",
        "198.18.20.80",
        dcv("reverse-address-lookup", challenge_value="x.check.test"),
        _no("reverse-address-lookup"),
    ),
)
_CAA: Final = (
    Row("issue permits", "RFC 8659 4.2", "issue.check.test", caa(), PASS),
    Row("a name below", "RFC 8659 3", "a.b.issue.check.test", caa(), PASS),
    Row("nothing up to the root", "RFC 8659 3", "web.check.test", caa(), PASS),
    Row('issue ";" forbids', "RFC 8659 4.2", "forbid.check.test", caa(), _no("caa")),
    Row("one of two permits", "RFC 8659 4.2", "both.check.test", caa(), PASS),
    Row("another issuer's name", "RFC 8659 4.2", "issue.check.test", caa(caa_domains=["x.example"]), _no("caa")),
    Row("a malformed value forbids", "RFC 8659 4.2", "malformed.check.test", caa(), _no("caa")),
    Row("unknown and critical forbids", "RFC 8659 4.1", "critical.check.test", caa(), _no("caa")),
    Row("unknown, not critical, does not", "RFC 8659 4.1", "noncritical.check.test", caa(), PASS),
    Row("issuewild alone leaves others free", "RFC 8659 4.3", "wildonly.check.test", caa(), PASS),
    Row("issuewild forbids wildcards", "RFC 8659 4.3", "*.wildonly.check.test", caa(), _no("caa")),
    Row("issuewild goes before issue", "RFC 8659 4.3", "*.wild.check.test", caa(), PASS),
    Row("tags in any case", "RFC 8659 4.1", "tag.check.test", caa(), PASS),
    Row("accounturi, given", "RFC 8657 3", "account.check.test", caa(account_uri=ACCOUNT), PASS),
    Row("accounturi, none given", "RFC 8657 3", "account.check.test", caa(), _no("caa")),
    Row("validationmethods, given", "RFC 8657 4", "method.check.test", caa(validation_method="dns-01"), PASS),
    Row(
        "validationmethods, another",
        "RFC 8657 4",
        "method.check.test",
        caa(validation_method="tls-alpn-01"),
        _no("caa"),
    ),
    Row("a doubled accounturi", "RFC 8657 3", "doubled.check.test", caa(account_uri=ACCOUNT), _no("caa")),
    Row("issuemail permits", "RFC 9495 3", "mail.check.test", caa(certificate_type="s-mime"), PASS),
    Row("issuemail forbids", "RFC 9495 3", "nomail.check.test", caa(certificate_type="s-mime"), _no("caa")),
    Row("issue is not for S/MIME", "RFC 9495 3", "forbid.check.test", caa(certificate_type="s-mime"), PASS),
    Row("a CNAME's RRset counts", "RFC 8659 3", "caaalias.check.test", caa(), PASS),
    Row("its target's parent does not", "RFC 8659 3", "caaaliasbelow.check.test", caa(), PASS),
    Row("a top-level domain that is none", "RFC 8659 3", "foo.nosuchtld", caa(), "target:caa.no-such-tld"),
    Row(
        "that is no look-up that failed",
        "BR 3.2.2.8",
        "foo.nosuchtld",
        caa(allow_lookup_failure=True),
        "target:caa.no-such-tld",
    ),
    Row("a failure is refusal", "BR 3.2.2.8", "x.glue.check.test", caa(), "target:dns.servfail"),
    Row(
        "bogus is refusal, whatever is asked",
        "BR 3.2.2.8",
        "www.bogus.example",
        caa(allow_lookup_failure=True),
        "target:dns.bogus",
    ),
    Row(
        "silent servers, permission not asked for",
        "BR 3.2.2.8",
        "x.silent.hostile.check.test",
        caa(),
        "target:dns.timeout",
    ),
    *(
        Row(rule, "BR 3.2.2.8", target, caa(allow_lookup_failure=True), expected)
        for rule, target, expected in (
            ("our own refusal to ask is no failure", "x.glue.check.test", "target:caa.server-special-purpose"),
            ("nor where one server alone is refused", "x.half-private.check.test", "target:caa.server-special-purpose"),
            ("nor a private address", "x.private-ns.check.test", "target:caa.server-special-purpose"),
            ("nor our limit of a chain", "13.cname-long.hostile.check.test", "target:caa.chain-too-long"),
            ("nor that of the resolver", "15.cname-long.hostile.check.test", "target:caa.chain-too-long"),
            ("nor a longer one", "19.cname-long.hostile.check.test", "target:caa.chain-too-long"),
            ("nor a loop", "a.cname-loop.hostile.check.test", "target:caa.chain-loop"),
            ("an answer without EDNS is one", "x.no-edns.hostile.check.test", "target:caa.zone-answers"),
            ("servers that are all silent show nothing", "x.silent.hostile.check.test", "target:caa.server-silent"),
            ("nor does one beside one that fails", "x.half-silent.check.test", "target:caa.server-silent"),
            (
                "what UDP drops and TCP answers is an answer",
                "x.udp-drops.hostile.check.test",
                "target:caa.zone-answers",
            ),
            ("so is what UDP refuses", "x.udp-refuses.hostile.check.test", "target:caa.zone-answers"),
            ("an answer with another id is no failure", "x.wrong-id.hostile.check.test", "target:caa.server-odd"),
            ("nor a malformed one", "x.garbage.hostile.check.test", "target:caa.server-odd"),
            ("nor those of a signed zone behind a CNAME", "todark.check.test", "target:caa.server-silent"),
            ("the end of the chain has to be Insecure too", "tobroken.check.test", "target:caa.not-insecure"),
            ("the parent of a child that fails forbids", "x.child.closed-parent.check.test", _no("caa")),
            ("the parent of a child that fails permits", "x.child.open-parent.check.test", PASS),
            ("SERVFAIL of every server", "x.servfail.hostile.check.test", PASS),
            ("REFUSED of every server", "x.refused.hostile.check.test", PASS),
            ("NOTIMP of every server", "x.notimp.hostile.check.test", PASS),
            ("FORMERR of every server", "x.formerr.hostile.check.test", PASS),
            ("every server refuses the connection", "x.closed.hostile.check.test", PASS),
            ("every server answers SOA and drops CAA", "x.no-caa.hostile.check.test", PASS),
            ("a CNAME into a zone that fails", "tofailing.check.test", PASS),
        )
    ),
)

TABLE: Final = (*_HTTP, *_TLS, *_DNS, *_CONTACTS, *_CAA)
