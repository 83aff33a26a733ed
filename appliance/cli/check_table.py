"""What `mpicctl check` asks of its caller for each method, as data; the names of parameters are the API's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from appliance.model.check import Method

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `--some-name` gives the parameter `some_name`. `kind`: str, bool (a flag) or list (repeatable)."""

    parameter: str
    metavar: str
    text: str
    required: bool = False
    kind: type = str
    flag: str | None = None

    @property
    def annotation(self) -> Any:
        """The type that typer reads."""
        value: Any = list[str] if self.kind is list else self.kind
        optional = value if self.required or self.kind is bool else value | None
        flag = self.flag or "--" + self.parameter.replace("_", "-")
        return Annotated[
            optional,
            typer.Option(flag, metavar=None if self.kind is bool else self.metavar, help=self.text, show_default=False),
        ]

    @property
    def default(self) -> Any:
        """What it is where it is not given; `...` where it must be."""
        return ... if self.required else False if self.kind is bool else None


def _as_given(given: Parameters) -> Parameters:
    return given


@dataclass(frozen=True, slots=True)
class Row:
    """`asks`: the question in words. `finish`: from the options that were given to the request's parameters."""

    method: Method
    asks: str
    options: tuple[Option, ...]
    finish: Callable[[Parameters], Parameters] = _as_given


def _base64url(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digested(encode: Callable[[bytes], str]) -> Callable[[Parameters], Parameters]:
    def finish(given: Parameters) -> Parameters:
        parameters = dict(given)
        key_authorization = parameters.pop("key_authorization", None)
        if (key_authorization is None) == ("key_authorization_hash" not in parameters):
            raise typer.BadParameter("give one of --key-authorization-hash and --key-authorization")
        if key_authorization is not None:
            digest = hashlib.sha256(key_authorization.encode()).digest()
            parameters["key_authorization_hash"] = encode(digest)
        return parameters

    return finish


def _fields(given: Parameters) -> Parameters:
    """`NAME: VALUE` lines to the API's object."""
    lines = given.get("http_headers", [])
    if any(":" not in line for line in lines):
        raise typer.BadParameter("--header is NAME: VALUE")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return given | ({"http_headers": headers} if headers else {})


_HEADER = Option(
    "http_headers", "FIELD", "NAME: VALUE to send with the request; repeatable.", kind=list, flag="--header"
)
_KEY_AUTHORIZATION = Option("key_authorization", "TEXT", "TOKEN.THUMBPRINT, from which the digest is computed.")
_HASH = Option("key_authorization_hash", "TEXT", "The digest itself: base64url of the SHA-256.")
_HEX_HASH = Option("key_authorization_hash", "TEXT", "The digest itself: the SHA-256 in lower-case hexadecimal.")
_TARGET = Option("delegation_target", "NAME", "Where a CNAME chain into one of the CA's zones must end.")
_EMAIL = Option("challenge_value", "ADDRESS", "The selected e-mail address.", required=True)
_PHONE = Option("challenge_value", "NUMBER", "The selected number, as +1-555-0100.", required=True)


def _rows(rows: Mapping[Method, tuple[str, tuple[Option, ...], Callable[[Parameters], Parameters]]]) -> tuple[Row, ...]:
    return tuple(Row(method, *rest) for method, rest in rows.items())


ROWS: Final = _rows(
    {
        Method.CAA: (
            "May the CA issue for NAME, by the CAA records that every perspective sees?",
            (
                Option(
                    "caa_domains",
                    "DOMAIN",
                    "Issuer domain name; repeatable. (default: configured)",
                    kind=list,
                    flag="--issuer",
                ),
                Option("certificate_type", "TYPE", "tls-server or s-mime. (default: tls-server)"),
                Option("account_uri", "URI", "RFC 8657 accounturi in use."),
                Option("validation_method", "METHOD", "RFC 8657 validation method in use."),
                Option(
                    "allow_lookup_failure",
                    "",
                    "Permission by failure, on all three conditions of BR 3.2.2.8.",
                    kind=bool,
                ),
            ),
            _as_given,
        ),
        Method.WEBSITE_CHANGE: (
            "Does the page below NAME's /.well-known/pki-validation/ hold the value?",
            (
                Option("http_token_path", "PATH", "Path below /.well-known/pki-validation/.", required=True),
                Option("challenge_value", "TEXT", "What the page must hold.", required=True),
                Option("match_regex", "PATTERN", "Pattern that the page must match besides."),
                Option("url_scheme", "SCHEME", "http or https. (default: http)"),
                _HEADER,
            ),
            _fields,
        ),
        Method.ACME_HTTP_01: (
            "Does NAME serve the key authorization at /.well-known/acme-challenge/TOKEN?",
            (
                Option("token", "TOKEN", "The challenge's token.", required=True),
                Option("key_authorization", "TEXT", "What the applicant must serve: TOKEN.THUMBPRINT.", required=True),
                _HEADER,
            ),
            _fields,
        ),
        Method.ACME_TLS_ALPN_01: (
            "Does NAME's TLS server show the challenge certificate for acme-tls/1?",
            (_HEX_HASH, _KEY_AUTHORIZATION),
            _digested(bytes.hex),
        ),
        Method.ACME_DNS_01: (
            "Does _acme-challenge.NAME have the TXT record?",
            (_HASH, _KEY_AUTHORIZATION, _TARGET),
            _digested(_base64url),
        ),
        Method.DNS_ACCOUNT_01: (
            "Does the account's own label below NAME have the TXT record?",
            (Option("acme_account_url", "URL", "The ACME account.", required=True), _HASH, _KEY_AUTHORIZATION, _TARGET),
            _digested(_base64url),
        ),
        Method.DNS_PERSISTENT: (
            "Does NAME's persistent TXT record name the CA and the account?",
            (
                Option("issuer_domain_names", "DOMAIN", "Issuer domain name; repeatable.", True, list, "--issuer"),
                Option(
                    "expected_account_uri", "URI", "The account that the record must name.", True, flag="--account-uri"
                ),
            ),
            _as_given,
        ),
        Method.DNS_CHANGE: (
            "Does a CNAME, TXT or CAA record of NAME hold the value?",
            (
                Option("challenge_value", "TEXT", "What the record must hold.", required=True),
                Option("dns_record_type", "TYPE", "CNAME, TXT or CAA.", required=True),
                Option("dns_name_prefix", "LABEL", "Label with a leading underscore, in front of NAME."),
                Option("require_exact_match", "", "The whole value must be equal.", kind=bool),
                _TARGET,
            ),
            _as_given,
        ),
        Method.CONTACT_EMAIL_CAA: (
            "Is the address a contactemail of NAME's CAA records?",
            (_EMAIL,),
            _as_given,
        ),
        Method.CONTACT_EMAIL_TXT: (
            "Is the address in the TXT records of _validation-contactemail.NAME?",
            (_EMAIL,),
            _as_given,
        ),
        Method.CONTACT_PHONE_CAA: (
            "Is the number a contactphone of NAME's CAA records?",
            (_PHONE,),
            _as_given,
        ),
        Method.CONTACT_PHONE_TXT: (
            "Is the number in the TXT records of _validation-contactphone.NAME?",
            (_PHONE,),
            _as_given,
        ),
        Method.IP_ADDRESS: (
            "Does NAME have the address?",
            (
                Option("challenge_value", "ADDRESS", "The address.", required=True),
                Option("dns_record_type", "TYPE", "A or AAAA.", required=True),
            ),
            _as_given,
        ),
        Method.REVERSE_ADDRESS_LOOKUP: (
            "Does the IP address NAME point to the domain name?",
            (Option("challenge_value", "DOMAIN", "The domain name.", required=True),),
            _as_given,
        ),
    }
)
