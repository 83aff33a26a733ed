"""What a perspective is asked: one value type per validation method, discriminated by the API's method name."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, get_args

import msgspec

from appliance.model.identifier import Identifier


class Method(StrEnum):
    """Validation methods and CAA, by the names of the Open MPIC API; the BR section is in `appliance.policy.methods`."""

    CAA = "caa"
    WEBSITE_CHANGE = "website-change"
    ACME_HTTP_01 = "acme-http-01"
    ACME_TLS_ALPN_01 = "acme-tls-alpn-01"
    ACME_DNS_01 = "acme-dns-01"
    DNS_ACCOUNT_01 = "dns-account-01"
    DNS_PERSISTENT = "dns-persistent"
    DNS_CHANGE = "dns-change"
    CONTACT_EMAIL_CAA = "contact-email-caa"
    CONTACT_EMAIL_TXT = "contact-email-txt"
    CONTACT_PHONE_CAA = "contact-phone-caa"
    CONTACT_PHONE_TXT = "contact-phone-txt"
    IP_ADDRESS = "ip-address"
    REVERSE_ADDRESS_LOOKUP = "reverse-address-lookup"


class UrlScheme(StrEnum):
    """How a website is read; each at its own port."""

    HTTP = "http"
    HTTPS = "https"


class DnsChangeType(StrEnum):
    """The record types of BR 3.2.2.4.7."""

    CNAME = "CNAME"
    TXT = "TXT"
    CAA = "CAA"


class AddressType(StrEnum):
    """The record types of BR 3.2.2.4.8."""

    A = "A"
    AAAA = "AAAA"


HttpHeaders = tuple[tuple[str, str], ...]
"""Fields that the caller adds to the request to the target, as `(name, value)`."""


class CertificateType(StrEnum):
    """Which CAA property tags count: `issue`/`issuewild` (RFC 8659) or `issuemail` (RFC 9495)."""

    TLS_SERVER = "tls-server"
    S_MIME = "s-mime"


class Check(msgspec.Struct, frozen=True, tag_field="method"):
    """Base of the parameter types; the tag `method` is the `Method` value. `method_of` names it."""


class CaaCheck(Check, frozen=True, tag="caa"):
    """BR 3.2.2.8. `issuer_domains`: the CA's issuer-domain-names. `account_uri`, `validation_method`: RFC 8657, what the
    CA used for this certificate request, None where it says neither. With `parameters_to_caller` they are not enforced,
    but reported in the finding for the CA to decide."""

    certificate_type: CertificateType
    issuer_domains: tuple[str, ...]
    account_uri: str | None = None
    validation_method: str | None = None
    allow_lookup_failure: bool = False
    parameters_to_caller: bool = False


class WebsiteChangeCheck(Check, frozen=True, tag="website-change"):
    """BR 3.2.2.4.18, 3.2.2.5.1. `http_token_path` is below `/.well-known/pki-validation/`; `match_regex` is of
    `appliance.policy.pattern`'s syntax."""

    http_token_path: str
    challenge_value: str
    url_scheme: UrlScheme = UrlScheme.HTTP
    match_regex: str | None = None
    http_headers: HttpHeaders = ()


class AcmeHttp01Check(Check, frozen=True, tag="acme-http-01"):
    """BR 3.2.2.4.19, 3.2.2.5.6; RFC 8555 section 8.3."""

    token: str
    key_authorization: str
    http_headers: HttpHeaders = ()


class AcmeTlsAlpn01Check(Check, frozen=True, tag="acme-tls-alpn-01"):
    """BR 3.2.2.4.20, 3.2.2.5.7; RFC 8737, RFC 8738. `key_authorization_hash` is the SHA-256 digest in lower-case hex."""

    key_authorization_hash: str


class AcmeDns01Check(Check, frozen=True, tag="acme-dns-01"):
    """BR 3.2.2.4.7; RFC 8555 section 8.4. `key_authorization_hash` is the base64url text expected in the TXT record.
    `delegation_target`: where a CNAME chain into one of the CA's own zones must end, without the final dot."""

    key_authorization_hash: str
    delegation_target: str | None = None


class DnsAccount01Check(Check, frozen=True, tag="dns-account-01"):
    """BR 3.2.2.4.21. As `AcmeDns01Check`, at a label made of `acme_account_url`."""

    key_authorization_hash: str
    acme_account_url: str
    delegation_target: str | None = None


class DnsPersistentCheck(Check, frozen=True, tag="dns-persistent"):
    """BR 3.2.2.4.22, 3.2.2.5.8. `issuer_domain_names`: those that the CA disclosed; `expected_account_uri`: compared exactly."""

    issuer_domain_names: tuple[str, ...]
    expected_account_uri: str


class DnsChangeCheck(Check, frozen=True, tag="dns-change"):
    """BR 3.2.2.4.7. `dns_name_prefix`: one label that begins with an underscore, or empty for the name itself.
    `delegation_target`: as in `AcmeDns01Check`, for TXT and CAA."""

    challenge_value: str
    dns_record_type: DnsChangeType
    dns_name_prefix: str = ""
    require_exact_match: bool = False
    delegation_target: str | None = None


class ContactEmailCaaCheck(Check, frozen=True, tag="contact-email-caa"):
    """BR 3.2.2.4.13, appendix A.1.1. `challenge_value`: the selected address."""

    challenge_value: str


class ContactEmailTxtCheck(Check, frozen=True, tag="contact-email-txt"):
    """BR 3.2.2.4.14, appendix A.2.1. `challenge_value`: the selected address."""

    challenge_value: str


class ContactPhoneCaaCheck(Check, frozen=True, tag="contact-phone-caa"):
    """BR 3.2.2.4.17, appendix A.1.2. `challenge_value`: the selected number (RFC 3966 section 5.1.4)."""

    challenge_value: str


class ContactPhoneTxtCheck(Check, frozen=True, tag="contact-phone-txt"):
    """BR 3.2.2.4.16, appendix A.2.2. `challenge_value`: the selected number (RFC 3966 section 5.1.4)."""

    challenge_value: str


class IpAddressCheck(Check, frozen=True, tag="ip-address"):
    """BR 3.2.2.4.8. `challenge_value`: the address that the name must have."""

    challenge_value: str
    dns_record_type: AddressType


class ReverseAddressLookupCheck(Check, frozen=True, tag="reverse-address-lookup"):
    """BR 3.2.2.5.3. `challenge_value`: the name that the address must point to."""

    challenge_value: str


AnyCheck = (
    CaaCheck
    | WebsiteChangeCheck
    | AcmeHttp01Check
    | AcmeTlsAlpn01Check
    | AcmeDns01Check
    | DnsAccount01Check
    | DnsPersistentCheck
    | DnsChangeCheck
    | ContactEmailCaaCheck
    | ContactEmailTxtCheck
    | ContactPhoneCaaCheck
    | ContactPhoneTxtCheck
    | IpAddressCheck
    | ReverseAddressLookupCheck
)


_METHODS: Final = {form: Method(str(form.__struct_config__.tag)) for form in get_args(AnyCheck)}


def method_of(check: AnyCheck) -> Method:
    """The method that these parameters are for."""
    return _METHODS[type(check)]


class CheckRequest(msgspec.Struct, frozen=True):
    """One check for one perspective. `deadline_ms` is the time left to it, from receipt, all steps together."""

    request_id: str
    perspective: str
    identifier: Identifier
    check: AnyCheck
    deadline_ms: int
