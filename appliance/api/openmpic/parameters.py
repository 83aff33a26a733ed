"""`dcv_check_parameters` and `caa_check_parameters`: one model per validation method, each of which gives its `Check`.

The models hold names and types; what a value must be like is in `appliance.policy.parameters`. A method is offered by a
class here and its place in `DcvCheckParameters`. Members that the specification's reference implementation sends as
constants (`dns_record_type`, `require_exact_case`, …) are accepted with that one value.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

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
    HttpHeaders,
    IpAddressCheck,
    ReverseAddressLookupCheck,
    UrlScheme,
    WebsiteChangeCheck,
)


class Parameters(BaseModel):
    """Common to all: types are not coerced, unknown members are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Text = Annotated[str, StringConstraints(max_length=4096)]
Name = Annotated[str, StringConstraints(max_length=255)]
Headers = Annotated[dict[Name, Text], Field(max_length=32)]
IssuerDomain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$", max_length=253)]
IssuerDomains = Annotated[list[IssuerDomain], Field(max_length=32)]
AccountUri = Annotated[str, StringConstraints(pattern=r"^[\x21-\x3a\x3c-\x7e]{1,1024}$")]
# RFC 8657 section 4.
MethodLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class CaaParameters(Parameters):
    """`account_uri` and `validation_method` (RFC 8657) are ours: what the CA used for this certificate request."""

    certificate_type: Literal["tls-server", "s-mime"] = "tls-server"
    caa_domains: IssuerDomains | None = None
    allow_lookup_failure: bool = False
    account_uri: AccountUri | None = None
    validation_method: MethodLabel | None = None

    def check(self, default_issuer_domains: tuple[str, ...], *, parameters_to_caller: bool = False) -> CaaCheck:
        """The check; an empty or missing list of domains means the configured ones."""
        return CaaCheck(
            certificate_type=CertificateType(self.certificate_type),
            issuer_domains=tuple(name.lower() for name in self.caa_domains or ()) or default_issuer_domains,
            account_uri=self.account_uri,
            validation_method=self.validation_method,
            allow_lookup_failure=self.allow_lookup_failure,
            parameters_to_caller=parameters_to_caller,
        )


class DcvParameters(Parameters):
    """Base of the methods' models."""

    validation_method: str

    def check(self) -> AnyCheck:
        """What the perspectives are to check."""
        raise NotImplementedError


class _Website(DcvParameters):
    http_headers: Headers | None = None
    require_exact_case: Literal[True] = True

    @property
    def headers(self) -> HttpHeaders:
        return tuple((self.http_headers or {}).items())


class WebsiteChangeParameters(_Website):
    """BR 3.2.2.4.18, 3.2.2.5.1. `challenge_value` has 8 octets or more, and is in no request, in whatever encoding."""

    validation_method: Literal["website-change"]
    http_token_path: Text
    challenge_value: Text
    match_regex: Text | None = None
    url_scheme: Literal["http", "https"] | None = None

    def check(self) -> AnyCheck:  # noqa: D102
        scheme = UrlScheme(self.url_scheme or "http")
        return WebsiteChangeCheck(
            self.http_token_path, self.challenge_value, scheme, self.match_regex or None, self.headers
        )


class AcmeHttp01Parameters(_Website):
    """BR 3.2.2.4.19, 3.2.2.5.6; RFC 8555 section 8.3."""

    validation_method: Literal["acme-http-01"]
    token: Text
    key_authorization: Text

    def check(self) -> AnyCheck:  # noqa: D102
        return AcmeHttp01Check(self.token, self.key_authorization, self.headers)


class AcmeTlsAlpn01Parameters(DcvParameters):
    """BR 3.2.2.4.20, 3.2.2.5.7; RFC 8737."""

    validation_method: Literal["acme-tls-alpn-01"]
    key_authorization_hash: Text
    require_exact_case: Literal[False] = False

    def check(self) -> AnyCheck:  # noqa: D102
        return AcmeTlsAlpn01Check(self.key_authorization_hash)


class AcmeDns01Parameters(DcvParameters):
    """BR 3.2.2.4.7; RFC 8555 section 8.4. `delegation_target` is ours."""

    validation_method: Literal["acme-dns-01"]
    key_authorization_hash: Text
    delegation_target: Name | None = None
    dns_record_type: Literal["TXT"] = "TXT"
    dns_name_prefix: Literal["_acme-challenge"] = "_acme-challenge"
    require_exact_case: Literal[True] = True

    def check(self) -> AnyCheck:  # noqa: D102
        return AcmeDns01Check(self.key_authorization_hash, self.delegation_target)


class DnsAccount01Parameters(DcvParameters):
    """BR 3.2.2.4.21. Not in the specification: named as its reference implementation names the method."""

    validation_method: Literal["dns-account-01"]
    key_authorization_hash: Text
    acme_account_url: Text
    delegation_target: Name | None = None
    dns_record_type: Literal["TXT"] = "TXT"
    require_exact_case: Literal[True] = True

    def check(self) -> AnyCheck:  # noqa: D102
        return DnsAccount01Check(self.key_authorization_hash, self.acme_account_url, self.delegation_target)


class DnsPersistentParameters(DcvParameters):
    """BR 3.2.2.4.22, 3.2.2.5.8."""

    validation_method: Literal["dns-persistent"]
    issuer_domain_names: Annotated[list[Name], Field(min_length=1, max_length=32)]
    expected_account_uri: Text
    dns_record_type: Literal["TXT"] = "TXT"
    dns_name_prefix: Literal["_validation-persist"] = "_validation-persist"
    require_exact_case: Literal[False] = False

    def check(self) -> AnyCheck:  # noqa: D102
        return DnsPersistentCheck(tuple(self.issuer_domain_names), self.expected_account_uri)


class DnsChangeParameters(DcvParameters):
    """BR 3.2.2.4.7. `delegation_target` is ours. Case always counts in TXT records, never in the others. Without
    `require_exact_match` the value has 8 octets or more, and is not in the name that is asked for."""

    validation_method: Literal["dns-change"]
    challenge_value: Text
    dns_record_type: Literal["CNAME", "TXT", "CAA"]
    dns_name_prefix: Name | None = None
    require_exact_match: bool = False
    require_exact_case: bool | None = None
    delegation_target: Name | None = None

    @model_validator(mode="after")
    def _case(self) -> Self:
        if self.require_exact_case is not None and self.require_exact_case is not (self.dns_record_type == "TXT"):
            raise ValueError("require_exact_case: case counts in TXT records, and in no others")
        return self

    def check(self) -> AnyCheck:  # noqa: D102
        return DnsChangeCheck(
            challenge_value=self.challenge_value,
            dns_record_type=DnsChangeType(self.dns_record_type),
            dns_name_prefix=self.dns_name_prefix or "",
            require_exact_match=self.require_exact_match,
            delegation_target=self.delegation_target,
        )


class _Selected(DcvParameters):
    challenge_value: Text
    require_exact_case: Literal[False] = False


class ContactEmailCaaParameters(_Selected):
    """BR 3.2.2.4.13."""

    validation_method: Literal["contact-email-caa"]
    dns_record_type: Literal["CAA"] = "CAA"
    dns_name_prefix: None = None

    def check(self) -> AnyCheck:  # noqa: D102
        return ContactEmailCaaCheck(self.challenge_value)


class ContactEmailTxtParameters(_Selected):
    """BR 3.2.2.4.14."""

    validation_method: Literal["contact-email-txt"]
    dns_record_type: Literal["TXT"] = "TXT"
    dns_name_prefix: Literal["_validation-contactemail"] = "_validation-contactemail"

    def check(self) -> AnyCheck:  # noqa: D102
        return ContactEmailTxtCheck(self.challenge_value)


class ContactPhoneCaaParameters(_Selected):
    """BR 3.2.2.4.17."""

    validation_method: Literal["contact-phone-caa"]
    dns_record_type: Literal["CAA"] = "CAA"
    dns_name_prefix: None = None

    def check(self) -> AnyCheck:  # noqa: D102
        return ContactPhoneCaaCheck(self.challenge_value)


class ContactPhoneTxtParameters(_Selected):
    """BR 3.2.2.4.16."""

    validation_method: Literal["contact-phone-txt"]
    dns_record_type: Literal["TXT"] = "TXT"
    dns_name_prefix: Literal["_validation-contactphone"] = "_validation-contactphone"

    def check(self) -> AnyCheck:  # noqa: D102
        return ContactPhoneTxtCheck(self.challenge_value)


class IpAddressParameters(_Selected):
    """BR 3.2.2.4.8."""

    validation_method: Literal["ip-address"]
    dns_record_type: Literal["A", "AAAA"]
    dns_name_prefix: None = None

    def check(self) -> AnyCheck:  # noqa: D102
        return IpAddressCheck(self.challenge_value, AddressType(self.dns_record_type))


class ReverseAddressLookupParameters(_Selected):
    """BR 3.2.2.5.3."""

    validation_method: Literal["reverse-address-lookup"]
    dns_record_type: Literal["PTR"] = "PTR"
    dns_name_prefix: None = None

    def check(self) -> AnyCheck:  # noqa: D102
        return ReverseAddressLookupCheck(self.challenge_value)


DcvCheckParameters = Annotated[
    WebsiteChangeParameters
    | AcmeHttp01Parameters
    | AcmeTlsAlpn01Parameters
    | AcmeDns01Parameters
    | DnsAccount01Parameters
    | DnsPersistentParameters
    | DnsChangeParameters
    | ContactEmailCaaParameters
    | ContactEmailTxtParameters
    | ContactPhoneCaaParameters
    | ContactPhoneTxtParameters
    | IpAddressParameters
    | ReverseAddressLookupParameters,
    Field(discriminator="validation_method"),
]
