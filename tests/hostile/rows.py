"""What is asked of each hostile server, and the error that every perspective has to end in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tests.conformance.table import HEX_DIGEST
from tests.hostile.addresses import SPECIAL, ZONE
from tests.hostile.http import LOCATIONS


@dataclass(frozen=True, slots=True)
class Row:
    """`expected`: a regular expression for the API's `error_type`."""

    target: str
    request: dict[str, Any]
    expected: str

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON document."""
        return self.request | {"domain_or_ip_target": self.target}


def _dcv(method: str, **parameters: Any) -> dict[str, Any]:
    return {"check_type": "dcv", "dcv_check_parameters": {"validation_method": method, **parameters}}


_HTTP = _dcv("acme-http-01", token="x", key_authorization="token")
_HTTPS = _dcv("website-change", http_token_path="x", challenge_value="token", url_scheme="https")
_ALPN = _dcv("acme-tls-alpn-01", key_authorization_hash=HEX_DIGEST)
_TXT = _dcv("dns-change", challenge_value="token", dns_record_type="TXT")
_CAA = {"check_type": "caa", "caa_check_parameters": {"caa_domains": ["other.example"]}}

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
    "reset": "target:http.(reset|truncated)",
    "loop": "target:http.redirect.loop",
    "chain": "target:http.redirect.too-many",
    "changing": "target:(address.refused|http.redirect.too-many)",
    "two-locations": "target:http.redirect.location",
}
_REFUSED = "target:(http.redirect.refused|address.refused)"
# Answers that come by TCP alone take long on a busy machine; the resolver may also hang up meanwhile.
_TOO_LARGE = "target:dns.timeout|perspective:dns.unreachable"
_BY_TLS: Final = {
    "tls-stall": "target:tls.timeout",
    "tls-drip": "target:tls.timeout",
    "tls-garbage": "target:tls.failed",
    "tls-reset": "target:tls.failed",
}

ROWS: Final = (
    *(Row(f"{name}.{ZONE}", _HTTP, expected) for name, expected in _BY_HTTP.items()),
    *(Row(f"{name}.{ZONE}", _HTTP, _REFUSED) for name in LOCATIONS),
    *(Row(f"{name}.{ZONE}", _HTTP, "target:address.refused") for name in SPECIAL),
    *(Row(f"{name}.{ZONE}", _ALPN, expected) for name, expected in _BY_TLS.items()),
    *(Row(f"{name}.{ZONE}", _HTTPS, expected) for name, expected in _BY_TLS.items()),
    Row(f"tls-then-stall.{ZONE}", _HTTPS, "target:http.head.timeout"),
    Row(f"tls-many-names.{ZONE}", _ALPN, "(validation:acme-tls-alpn-01|target:tls.failed)"),
    Row(f"x.silent.{ZONE}", _TXT, "target:dns.(timeout|servfail)"),
    Row(f"x.garbage.{ZONE}", _TXT, "target:dns.(timeout|servfail)"),
    Row(f"x.wrong-id.{ZONE}", _TXT, "target:dns.(timeout|servfail)"),
    Row(f"x.tcp-stall.{ZONE}", _TXT, "target:dns.(timeout|servfail)"),
    Row(f"x.refused.{ZONE}", _TXT, "target:dns.servfail"),
    Row(f"x.many.{ZONE}", _TXT, f"target:dns.malformed|{_TOO_LARGE}"),
    Row(f"x.forged.{ZONE}", _TXT, "validation:dns-change"),
    Row(f"a.cname-loop.{ZONE}", _TXT, "target:dns.(servfail|timeout)|validation:dns-change"),
    Row(f"1.cname-endless.{ZONE}", _TXT, "target:dns.(servfail|timeout|chain.too-long)"),
    Row(f"x.caa-values.{ZONE}", _CAA, "validation:caa"),
    Row(f"x.caa-long.{ZONE}", _CAA, f"validation:caa|{_TOO_LARGE}"),
    Row("y.glue.check.test", _TXT, "target:dns.servfail"),
)
