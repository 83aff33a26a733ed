"""The request of the draft: one form, three methods; each asks for one or two checks.

Where the draft leaves the form open we chose: `record-type` is one of TXT and CNAME and `prefix` one label beginning with an
underscore, or empty; the CAA check of `dns` is asked for by `caa`, that of `http-acme` by `caa_check`, as in the draft's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, ValidationError

from appliance.api.errors import Issue, Malformed
from appliance.api.json import parse_object
from appliance.coordinator.identifiers import to_validate
from appliance.errors import BadRequest
from appliance.model.check import (
    AcmeHttp01Check,
    AnyCheck,
    CaaCheck,
    CertificateType,
    DnsChangeCheck,
    DnsChangeType,
)
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.validatable import NONE, Exceptions
from appliance.policy.parameters import check_problems

Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class CaaForm(_Form):
    """`caa`."""

    method: Literal["caa"]
    domain: Text


class HttpAcmeForm(_Form):
    """`http-acme`: RFC 8555 section 8.3. `caa_check`: by default true unless it is an IP address."""

    method: Literal["http-acme"]
    domain_or_ip: Text
    token: Text
    key_authorization: Text
    caa_check: bool | None = None


class DnsForm(_Form):
    """`dns`: BR 3.2.2.4.7."""

    method: Literal["dns"]
    domain: Text
    record_type: Annotated[Literal["TXT", "CNAME"], Field(alias="record-type")]
    prefix: Annotated[str, StringConstraints(max_length=63)]
    expected: Text
    caa: bool = True


class DraftRequest(RootModel[Annotated[CaaForm | HttpAcmeForm | DnsForm, Field(discriminator="method")]]):
    """The body of `POST /mpic/draft-00`."""


@dataclass(frozen=True, slots=True)
class DraftAsked:
    """What is to be decided: `main`, and `caa` where both were asked for."""

    identifier: Identifier
    main: AnyCheck
    caa: CaaCheck | None


FormType = TypeVar("FormType", bound=_Form)


def parse_draft(body: bytes, issuer_domains: tuple[str, ...], day: date, exceptions: Exceptions = NONE) -> DraftAsked:
    """The checks that `body` asks for. Raises `Malformed` with one issue for each thing that is wrong."""
    parse_object(body)
    try:
        form = DraftRequest.model_validate_json(body).root
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise Malformed(
            [Issue.of(_place(detail["loc"]), detail["msg"], detail["type"]) for detail in details]
        ) from error
    name, target = _target(form)
    try:
        identifier = to_validate(target, exceptions)
    except BadRequest as error:
        raise Malformed([Issue.of((name,), error.rule)]) from error
    main, with_caa = _checks(form, issuer_domains, identifier)
    asked = DraftAsked(identifier, main, _caa(issuer_domains) if with_caa else None)
    checks = [main] if asked.caa is None else [main, asked.caa]
    problems = [problem for check in checks for problem in check_problems(check, identifier, day)]
    if problems:
        raise Malformed([Issue.of((_theirs(parameter, name),), rule) for parameter, rule in problems])
    return asked


def _target(form: CaaForm | HttpAcmeForm | DnsForm) -> tuple[str, str]:
    if isinstance(form, HttpAcmeForm):
        return "domain_or_ip", form.domain_or_ip
    return "domain", form.domain


def _checks(
    form: CaaForm | HttpAcmeForm | DnsForm, issuer_domains: tuple[str, ...], identifier: Identifier
) -> tuple[AnyCheck, bool]:
    """The main check, and whether CAA is asked for beside it."""
    if isinstance(form, CaaForm):
        return _caa(issuer_domains), False
    if isinstance(form, HttpAcmeForm):
        by_default = identifier.type is IdentifierType.DNS
        wanted = by_default if form.caa_check is None else form.caa_check
        return AcmeHttp01Check(form.token, form.key_authorization), wanted
    return DnsChangeCheck(form.expected, DnsChangeType(form.record_type), form.prefix), form.caa


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Behind a discriminator pydantic names the chosen branch, which is no member of the request."""
    return location[1:] or ("method",)


def _caa(issuer_domains: tuple[str, ...]) -> CaaCheck:
    return CaaCheck(CertificateType.TLS_SERVER, issuer_domains)


_NAMES = {
    "challenge_value": "expected",
    "dns_name_prefix": "prefix",
    "dns_record_type": "record-type",
    "validation_method": "method",
}


def _theirs(parameter: str, target: str) -> str:
    return target if parameter == "domain_or_ip_target" else _NAMES.get(parameter, parameter)
