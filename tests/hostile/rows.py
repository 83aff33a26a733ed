"""What is asked of each hostile server, and the one error that every perspective has to end in."""

from __future__ import annotations

from typing import Any, Final

from tests.conformance.row import Row, caa, dcv
from tests.conformance.table import HEX_DIGEST
from tests.hostile.addresses import SPECIAL, ZONE

_HTTP = dcv("acme-http-01", token="x", key_authorization="token")
_HTTPS = dcv("website-change", http_token_path="x", challenge_value="the-token", url_scheme="https")
_ALPN = dcv("acme-tls-alpn-01", key_authorization_hash=HEX_DIGEST)
_TXT = dcv("dns-change", challenge_value="the-token", dns_record_type="TXT")
_CAA = caa(caa_domains=["other.example"])

_BY_HTTP: Final = {
    "drip": "target:http.head.timeout",
    "stall-head": "target:http.head.timeout",
    "stall-in-head": "target:http.head.timeout",
    "stall-body": "target:http.body.timeout",
    "stall-chunk": "target:http.body.timeout",
    "endless-head": "target:http.head.too-large",
    "endless-line": "target:http.head.too-large",
    "endless-interim": "target:http.head.too-large",
    "endless-body": "validation:acme-http-01",
    "endless-chunks": "validation:acme-http-01",
    "bomb": "validation:acme-http-01",
    "short": "target:http.truncated",
    "lengths": "target:http.malformed",
    "smuggled": "target:http.malformed",
    "no-http": "target:http.malformed",
    "http09": "target:http.malformed",
    "bytes": "target:http.malformed",
    "binary": "validation:acme-http-01",
    "upgrade": "target:http.malformed",
    "reset": "target:http.reset",
    "loop": "target:http.redirect.loop",
    "chain": "target:http.redirect.too-many",
    "changing": "target:address.refused",
    "two-locations": "target:http.redirect.location",
    "to-dotted": "target:address.refused",
    "to-decimal": "target:http.redirect.refused",
    "to-hex": "target:http.redirect.refused",
    "to-octal": "target:http.redirect.refused",
    "to-short": "target:http.redirect.refused",
    "to-mapped": "target:address.refused",
    "to-nat64": "target:address.refused",
    "to-6to4": "target:address.refused",
    "to-loopback6": "target:address.refused",
    "to-zone-id": "target:http.redirect.refused",
    "to-user": "target:http.redirect.refused",
    "to-localhost": "target:address.refused",
    "to-name": "target:address.refused",
    "to-alias": "target:address.refused",
    "to-metadata": "target:address.refused",
    "to-port": "target:http.redirect.refused",
    "to-scheme": "target:http.redirect.refused",
    **dict.fromkeys(SPECIAL, "target:address.refused"),
}
_BY_TLS: Final = {
    "tls-stall": "target:tls.timeout",
    "tls-drip": "target:tls.timeout",
    "tls-garbage": "target:tls.failed",
    "tls-reset": "target:tls.failed",
    "tls-endless-names": "target:tls.failed",
}
_BEHIND_TLS: Final = {
    "tls-then-stall": "target:http.head.timeout",
    "tls-renegotiate": "target:http.head.timeout",
    "tls-endless-head": "target:http.head.too-large",
    "tls-tickets": "target:tls.flood",
}
_BY_DNS: Final = {
    "x.mute": "target:dns.timeout",
    "x.garbage": "target:dns.servfail",
    "x.wrong-id": "target:dns.timeout",
    "x.tcp-stall": "target:dns.timeout",
    "x.tcp-close": "target:dns.servfail",
    "x.truncated": "target:dns.servfail",
    "x.refused": "target:dns.servfail",
    "x.many": "target:dns.too-many-records",
    "x.forged": "validation:dns-change",
    "a.cname-loop": "target:dns.servfail",
    "1.cname-endless": "target:dns.servfail",
}


def _rows(request: dict[str, Any], expected: dict[str, str]) -> list[Row]:
    return [
        Row(f"{name} ends in its own error", "bounds in size and time", f"{name}.{ZONE}", request, error)
        for name, error in expected.items()
    ]


ROWS: Final = (
    *_rows(_HTTP, _BY_HTTP),
    *_rows(_ALPN, _BY_TLS),
    *_rows(_HTTPS, _BY_TLS),
    *_rows(_HTTPS, _BEHIND_TLS),
    *_rows(_ALPN, {"tls-many-names": "validation:acme-tls-alpn-01"}),
    *_rows(_TXT, _BY_DNS),
    *_rows(_CAA, {"x.caa-values": "validation:caa", "x.caa-long": "validation:caa"}),
    Row("glue at this host's own addresses is not asked", "RFC 6890", "y.glue.check.test", _TXT, "target:dns.servfail"),
)
