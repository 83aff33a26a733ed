"""Rules on the parameters of a check that the BRs and RFCs set, as pure functions: for the API's 400, before any perspective."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import singledispatch
from ipaddress import ip_address
from typing import Final

from appliance.model.check import (
    AcmeDns01Check,
    AcmeHttp01Check,
    AcmeTlsAlpn01Check,
    AddressType,
    AnyCheck,
    ContactEmailCaaCheck,
    ContactEmailTxtCheck,
    ContactPhoneCaaCheck,
    ContactPhoneTxtCheck,
    DnsAccount01Check,
    DnsChangeCheck,
    DnsChangeType,
    DnsPersistentCheck,
    HttpHeaders,
    IpAddressCheck,
    ReverseAddressLookupCheck,
    WebsiteChangeCheck,
    method_of,
)
from appliance.model.identifier import Identifier
from appliance.policy.http_headers import headers_problem, request_head
from appliance.policy.methods import Forbidden, permitted, refusal
from appliance.policy.pattern_syntax import BadPattern, compile_pattern
from appliance.policy.reflection import (
    MIN_VALUE_OCTETS,
    EncodedTooOften,
    stands_in_request,
    too_short,
)

Problem = tuple[str, str]
"""The parameter's name in the API, and the rule that it breaks."""

PKI_VALIDATION_PATH: Final = "/.well-known/pki-validation/"
MAX_VALUE_CHARS: Final = 1024
_BASE64URL_SHA256: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HEX_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
# RFC 3986 unreserved and sub-delims: no percent escapes, which could spell dots, and no colon, query or fragment.
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=@/-]{1,512}")
_PREFIX: Final = re.compile(r"_[A-Za-z0-9_-]{0,62}")
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})+")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
_PHONE: Final = re.compile(r"\+[0-9().-]{1,40}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x3a\x3c-\x7e]{1,1000}")


def check_problems(check: AnyCheck, identifier: Identifier, day: date) -> list[Problem]:
    """Every rule that the request breaks on `day`; empty when it may be asked of the perspectives."""
    method = method_of(check)
    found: list[Problem] = []
    unfit = refusal(method, identifier)
    if unfit is not None:
        found.append(("domain_or_ip_target", unfit))
    ruling = permitted(method, day)
    if isinstance(ruling, Forbidden):
        found.append(("validation_method", ruling.reason))
    return [*found, *_problems(check), *_reflections(check, identifier)]


@singledispatch
def _problems(check: AnyCheck) -> Iterator[Problem]:  # noqa: ARG001 -- a type of its own decides; of CAA nothing is left
    yield from ()


@_problems.register
def _(check: WebsiteChangeCheck) -> Iterator[Problem]:
    yield from _value(check.challenge_value)
    yield from _length(check.challenge_value)
    problem = token_path_problem(check.http_token_path)
    if problem is not None:
        yield "http_token_path", problem
    yield from _headers(check.http_headers)
    if check.match_regex is not None:
        try:
            compile_pattern(check.match_regex)
        except BadPattern as error:
            yield "match_regex", str(error)


@_problems.register
def _(check: AcmeHttp01Check) -> Iterator[Problem]:
    if not _TOKEN.fullmatch(check.token):
        yield "token", "is not of the base64url alphabet (RFC 8555 section 8.3)"
    if (
        not check.key_authorization.isascii()
        or not check.key_authorization.strip()
        or len(check.key_authorization) > 1024
    ):
        yield "key_authorization", "is empty, longer than 1024 characters or not ASCII"
    elif check.key_authorization != check.key_authorization.rstrip():
        yield "key_authorization", "ends in white space, which is stripped from what it is compared with"
    elif check.key_authorization.casefold() in check.token.casefold():
        yield "key_authorization", "is in the token, and so in the request (RFC 8555 section 8.1: token.thumbprint)"
    yield from _headers(check.http_headers)


@_problems.register(AcmeDns01Check)
@_problems.register(DnsAccount01Check)
def _(check: AcmeDns01Check | DnsAccount01Check) -> Iterator[Problem]:
    if not _BASE64URL_SHA256.fullmatch(check.key_authorization_hash):
        yield "key_authorization_hash", "is not a SHA-256 digest in base64url without padding (RFC 8555 section 8.4)"
    if isinstance(check, DnsAccount01Check) and not _URI.fullmatch(check.acme_account_url):
        yield "acme_account_url", "is not a URL"
    yield from _target(check.delegation_target)


@_problems.register
def _(check: AcmeTlsAlpn01Check) -> Iterator[Problem]:
    if not _HEX_SHA256.fullmatch(check.key_authorization_hash):
        yield "key_authorization_hash", "is not a SHA-256 digest in lower-case hexadecimal (RFC 8737 section 3)"


@_problems.register
def _(check: DnsPersistentCheck) -> Iterator[Problem]:
    if not check.issuer_domain_names or not all(_NAME.fullmatch(name) for name in check.issuer_domain_names):
        yield "issuer_domain_names", "is empty or holds what is no domain name"
    if not _URI.fullmatch(check.expected_account_uri):
        yield "expected_account_uri", "is not a URI"


@_problems.register
def _(check: DnsChangeCheck) -> Iterator[Problem]:
    yield from _value(check.challenge_value)
    if not check.require_exact_match:
        yield from _length(check.challenge_value)
    if check.dns_name_prefix and not _PREFIX.fullmatch(check.dns_name_prefix):
        yield "dns_name_prefix", "is not one label that begins with an underscore (BR 3.2.2.4.7)"
    if check.dns_record_type is DnsChangeType.CNAME and check.delegation_target is not None:
        yield "delegation_target", "is for TXT and CAA; of a CNAME record the value itself is the target"
    yield from _target(check.delegation_target)


@_problems.register(ContactEmailCaaCheck)
@_problems.register(ContactEmailTxtCheck)
def _(check: ContactEmailCaaCheck | ContactEmailTxtCheck) -> Iterator[Problem]:
    if len(check.challenge_value) > 320 or not _EMAIL.fullmatch(check.challenge_value):
        yield "challenge_value", "is not an e-mail address (RFC 6532)"


@_problems.register(ContactPhoneCaaCheck)
@_problems.register(ContactPhoneTxtCheck)
def _(check: ContactPhoneCaaCheck | ContactPhoneTxtCheck) -> Iterator[Problem]:
    if not _PHONE.fullmatch(check.challenge_value) or not any(c.isdigit() for c in check.challenge_value):
        yield "challenge_value", "is not a global number (RFC 3966 section 5.1.4)"


@_problems.register
def _(check: IpAddressCheck) -> Iterator[Problem]:
    version = 4 if check.dns_record_type is AddressType.A else 6
    try:
        if ip_address(check.challenge_value).version != version or "%" in check.challenge_value:
            yield "challenge_value", f"is not an address of a {check.dns_record_type} record"
    except ValueError:
        yield "challenge_value", "is not an IP address"


@_problems.register
def _(check: ReverseAddressLookupCheck) -> Iterator[Problem]:
    if not _NAME.fullmatch(check.challenge_value.removesuffix(".")):
        yield "challenge_value", "is not a domain name"


def token_path_problem(path: str) -> str | None:
    """Why a path may not be appended to `/.well-known/pki-validation/`, or None."""
    if not _PATH.fullmatch(path):
        return "is empty, longer than 512 characters, or holds a scheme, query, fragment, escape or other character"
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        return "has an empty segment, or one that climbs"
    return None


def _value(value: str) -> Iterator[Problem]:
    if not value.strip() or len(value) > MAX_VALUE_CHARS:
        yield "challenge_value", f"is empty or longer than {MAX_VALUE_CHARS} characters"


def _length(value: str) -> Iterator[Problem]:
    if value.strip() and too_short(value):
        yield (
            "challenge_value",
            f"is shorter than {MIN_VALUE_OCTETS} octets, and would be found by chance; use a Random Value of 112 bits"
            " (BR 1.6.1)",
        )


def _target(target: str | None) -> Iterator[Problem]:
    if target is not None and not _NAME.fullmatch(target):
        yield "delegation_target", "is not a domain name without its final dot"


def _headers(headers: HttpHeaders) -> Iterator[Problem]:
    problem = headers_problem(headers)
    if problem is not None:
        yield "http_headers", problem


@singledispatch
def _reflections(check: AnyCheck, identifier: Identifier) -> Iterator[Problem]:  # noqa: ARG001 -- as `_problems`
    """Rules on a value that the target could get from the request itself."""
    yield from ()


@_reflections.register
def _(check: WebsiteChangeCheck, identifier: Identifier) -> Iterator[Problem]:
    value = check.challenge_value
    # Such a request is refused already, and the value of a long one would cost more than it tells.
    if too_short(value) or len(value) > MAX_VALUE_CHARS or token_path_problem(check.http_token_path):
        return
    if headers_problem(check.http_headers):
        return
    host = f"[{identifier.value}]" if ":" in identifier.value else identifier.value
    parts: tuple[tuple[str, str, HttpHeaders, str], ...] = (
        ("challenge_value", "", (), "is in the fixed part of the request (scheme, host, port, path or header fields)"),
        ("http_token_path", check.http_token_path, (), "holds the challenge value"),
        ("http_headers", check.http_token_path, check.http_headers, "holds the challenge value"),
    )
    for parameter, path, headers, rule in parts:
        target = PKI_VALIDATION_PATH + path
        try:
            head = request_head(target, host, "", headers)
            if stands_in_request(value, f"{check.url_scheme}://{host}{target}", head):
                yield parameter, f"{rule}, as it is or decoded; the value must not be in the request (BR 3.2.2.4.18)"
                return
        except EncodedTooOften as error:
            yield ("http_headers" if headers else "challenge_value"), f"is {error}"
            return


@_reflections.register
def _(check: DnsChangeCheck, identifier: Identifier) -> Iterator[Problem]:
    name = f"{check.dns_name_prefix}.{identifier.value}".removeprefix(".")
    if check.require_exact_match or too_short(check.challenge_value):
        return
    if check.challenge_value.lower().removesuffix(".") in name.lower():
        yield "challenge_value", "is in the name that is asked for, which a CNAME or DNAME may repeat (BR 3.2.2.4.7)"
