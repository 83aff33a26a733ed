"""`check_response.details`: what one perspective saw, in the form that belongs to the kind of method."""

from __future__ import annotations

import msgspec

from appliance.model.check import Method
from appliance.model.observation import Lookup, LookupFailure, Observation

# RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6895 section 2.3.
_RCODES = {
    "NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "YXDOMAIN": 6, "YXRRSET": 7,
    "NXRRSET": 8, "NOTAUTH": 9, "NOTZONE": 10, "BADVERS": 16,
}  # fmt: skip
_HTTP_METHODS = frozenset({Method.ACME_HTTP_01, Method.WEBSITE_CHANGE})


class CaaDetails(msgspec.Struct, frozen=True):
    """`found_at` and `records_seen` are None where no label has CAA records, or where the look-up failed.

    Ours: `reason` says why issuance is permitted or not; `parameters` are RFC 8657's of the property that permits, where
    `caa.parameters_to_caller` leaves them to the caller; `lookup_failures`: where permission by failure was asked for, what
    each label's failure shows, with what its name servers were asked, when, and what came.
    """

    caa_record_present: bool
    found_at: str | None
    records_seen: tuple[str, ...] | None
    reason: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    lookup_failures: tuple[LookupFailure, ...] = ()


class Redirect(msgspec.Struct, frozen=True):
    """One redirect, by the specification's names and by its reference implementation's."""

    response_status_code: int
    response_url: str
    status_code: int
    url: str


class HttpDetails(msgspec.Struct, frozen=True):
    """`HTTPMethodCheckResponseDetails`. `response_page`: the first 100 bytes, each byte one character (ISO 8859-1)."""

    validation_method: Method
    response_history: tuple[Redirect, ...]
    response_url: str | None
    response_status_code: int | None
    response_page: str | None
    resolved_ip: str | None


class DnsDetails(msgspec.Struct, frozen=True):
    """`DNSMethodCheckResponseDetails`. `response_code` is the RCODE's number (RFC 6895), None where no answer came."""

    validation_method: Method
    records_seen: tuple[str, ...]
    response_code: int | None
    ad_flag: bool | None
    found_at: str | None
    cname_chain: tuple[str, ...]


class TlsAlpnDetails(msgspec.Struct, frozen=True):
    """`TLSALPNMethodCheckResponseDetails`. `common_name` is "" where the certificate has none, or none was seen."""

    validation_method: Method
    common_name: str


Details = CaaDetails | HttpDetails | DnsDetails | TlsAlpnDetails


def details_of(seen: Observation) -> Details:
    """The details of one observation; all members are there, empty where the perspective did not come so far."""
    if seen.method is Method.CAA:
        return _caa(seen)
    if seen.method in _HTTP_METHODS:
        return _http(seen)
    if seen.method is Method.ACME_TLS_ALPN_01:
        certificate = seen.certificate
        return TlsAlpnDetails(seen.method, (certificate.common_name if certificate is not None else None) or "")
    return _dns(seen)


def _caa(seen: Observation) -> CaaDetails:
    finding = seen.caa
    if finding is None:
        return CaaDetails(caa_record_present=False, found_at=None, records_seen=None)
    return CaaDetails(
        bool(finding.rrset),
        finding.found_at,
        finding.rrset or None,
        finding.reason,
        finding.parameters,
        finding.failures,
    )


def _http(seen: Observation) -> HttpDetails:
    if not seen.hops:
        return HttpDetails(seen.method, (), None, None, None, None)
    *before, last = seen.hops
    history = tuple(Redirect(hop.status or 0, hop.url, hop.status or 0, hop.url) for hop in before)
    address = next((one.address for one in reversed(last.connections) if one.connected), None)
    page = last.body_prefix if last.status is not None else None
    return HttpDetails(seen.method, history, last.url, last.status, page, address)


def _dns(seen: Observation) -> DnsDetails:
    if not seen.lookups:
        return DnsDetails(seen.method, (), None, None, None, ())
    look = _deciding(seen.lookups)
    answered = look.rcode is not None
    return DnsDetails(
        validation_method=seen.method,
        records_seen=tuple(record.data for record in look.records),
        response_code=_rcode(look.rcode),
        ad_flag=look.ad if answered else None,
        found_at=look.records[0].name if look.records else None,
        cname_chain=tuple(record.data for record in look.chain),
    )


def _deciding(lookups: tuple[Lookup, ...]) -> Lookup:
    """The look-up that found something, else the last."""
    return next((look for look in lookups if look.records), lookups[-1])


def _rcode(text: str | None) -> int | None:
    if text is None:
        return None
    if text.startswith("RCODE") and len(text) <= 10 and text.isascii() and text[5:].isdigit():
        return int(text[5:])
    return _RCODES.get(text)
