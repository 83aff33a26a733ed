"""CAA evaluation as a pure function of one RRset: RFC 8659, RFC 8657, RFC 9495 and BR 3.2.2.8.

Values of any length are read in linear time, without regular expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.model.check import CertificateType
from appliance.model.observation import CaaFinding

MAX_RRSET_KEPT: Final = 64
MAX_PARAMETERS_KEPT: Final = 16
MAX_TEXT_CHARS: Final = 512

_CRITICAL: Final = 128
# What we act on, and the properties that the BRs register for contacts (BR appendix A.1): they restrict nothing.
_KNOWN_TAGS: Final = frozenset({"issue", "issuewild", "issuemail", "iodef", "contactemail", "contactphone"})
_ALNUM: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_LABEL: Final = _ALNUM | {0x2D}
_PARAMETER_VALUE: Final = frozenset(range(0x21, 0x7F)) - {0x3B}
_WSP: Final = b" \t"
_TEXT_OF_BYTE: Final = tuple(
    "\\" + chr(b) if b in b'"\\' else (chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03d}") for b in range(256)
)


class CaaQuestion(msgspec.Struct, frozen=True):
    """What is asked of an RRset. `account_uri`, `validation_method`: what the CA used (RFC 8657), None where it says
    neither. With `parameters_to_caller` those two are not enforced but handed over in the finding."""

    certificate_type: CertificateType
    wildcard: bool
    issuer_domains: tuple[str, ...]
    account_uri: str | None
    validation_method: str | None
    parameters_to_caller: bool = False


class CaaRecord(msgspec.Struct, frozen=True):
    """One property (RFC 8659 section 4.1). `tag` is in lower case; None where the RDATA has no well-formed tag."""

    critical: bool
    tag: str | None
    value: bytes


class IssueValue(msgspec.Struct, frozen=True):
    """A well-formed issue value (RFC 8659 section 4.2). `domain` is in lower case and may be empty; `parameters` in
    order, their tags in lower case, so that one written `AccountURI` restricts too."""

    domain: str
    parameters: tuple[tuple[str, str], ...]


def read_record(rdata: bytes) -> CaaRecord:
    """CAA RDATA taken apart. What does not parse has no tag and, to fail closed, counts as critical."""
    if len(rdata) < 3 or not rdata[1] or len(rdata) < 2 + rdata[1]:
        return CaaRecord(True, None, b"")
    tag = rdata[2 : 2 + rdata[1]]
    critical = bool(rdata[0] & _CRITICAL)
    if not _ALNUM.issuperset(tag):
        return CaaRecord(critical, None, b"")
    return CaaRecord(critical, tag.decode("ascii").lower(), rdata[2 + rdata[1] :])


def read_issue_value(value: bytes) -> IssueValue | None:
    """The value of an `issue`, `issuewild` or `issuemail` property, or None where it is malformed."""
    domain, semicolon, rest = value.partition(b";")
    domain = domain.strip(_WSP)
    if domain and not all(map(_is_label, domain.split(b"."))):
        return None
    parameters: list[tuple[str, str]] = []
    if semicolon:
        pieces = [piece.strip(_WSP) for piece in rest.split(b";")]
        # The grammar has a semicolon between parameters, not after the last; only a lone one may be followed by nothing.
        if pieces == [b""]:
            pieces = []
        for piece in pieces:
            parameter = _read_parameter(piece)
            if parameter is None:
                return None
            parameters.append(parameter)
    return IssueValue(domain.decode("ascii").lower(), tuple(parameters))


def _read_parameter(piece: bytes) -> tuple[str, str] | None:
    tag, equals, value = piece.partition(b"=")
    tag = tag.rstrip(_WSP)
    value = value.lstrip(_WSP)
    if not equals or not _is_label(tag) or not _PARAMETER_VALUE.issuperset(value):
        return None
    return tag.decode("ascii").lower(), value.decode("ascii")


def _is_label(text: bytes) -> bool:
    return bool(text) and _LABEL.issuperset(text) and text[0] != 0x2D and text[-1] != 0x2D


def evaluate(rrset: Sequence[bytes], found_at: str | None, question: CaaQuestion) -> CaaFinding:
    """Whether the RRset (RDATA, as found at the label `found_at` by the climb) permits issuance, and why."""
    records = [read_record(rdata) for rdata in rrset]
    decided = _decide(records, question)
    kept = list(rrset[:MAX_RRSET_KEPT])
    if decided.by is not None and (at := next(i for i, one in enumerate(records) if one is decided.by)) >= len(kept):
        # Whatever else is there, the record that decided is in the evidence.
        kept = [rrset[at], *kept[:-1]]
    shown = tuple([presentation(rdata) for rdata in kept])
    return CaaFinding(
        decided.permitted, found_at if rrset else None, shown, decided.reason, decided.parameters[:MAX_PARAMETERS_KEPT]
    )


class _Decision(NamedTuple):
    """`by`: the one record that decided, None where none alone did."""

    permitted: bool
    reason: str
    parameters: tuple[tuple[str, str], ...] = ()
    by: CaaRecord | None = None


def _decide(records: list[CaaRecord], question: CaaQuestion) -> _Decision:
    if not records:
        return _Decision(True, "no CAA record up to the root: issuance is unrestricted (RFC 8659 section 3)")
    for record in records:
        if record.critical and record.tag not in _KNOWN_TAGS:
            what = "a malformed record" if record.tag is None else f"an unknown property {record.tag[:32]!r}"
            return _Decision(False, f"{what} is critical (RFC 8659 section 4.1)", by=record)
    tag = _relevant_tag(records, question)
    relevant = [record for record in records if record.tag == tag]
    if not relevant:
        return _Decision(True, f"no {tag} property: it restricts nothing (RFC 8659 section 4, RFC 9495 section 4)")
    return _decide_issue(tag, relevant, question)


def _relevant_tag(records: list[CaaRecord], question: CaaQuestion) -> str:
    if question.certificate_type is CertificateType.S_MIME:
        return "issuemail"
    if question.wildcard and any(record.tag == "issuewild" for record in records):
        return "issuewild"
    return "issue"


def _decide_issue(tag: str, relevant: list[CaaRecord], question: CaaQuestion) -> _Decision:
    ours = {domain.lower() for domain in question.issuer_domains}
    reasons: list[str] = []
    handed_over: list[tuple[IssueValue, CaaRecord]] = []
    for record in relevant:
        value = read_issue_value(record.value)
        if value is None:
            reasons.append(f"a malformed {tag} value")
        elif not value.domain or value.domain not in ours:
            reasons.append(f"{tag} names {_clip(value.domain) or 'nobody'}")
        elif question.parameters_to_caller and len(value.parameters) > MAX_PARAMETERS_KEPT:
            # One that is cut off could be the one that restricts.
            reasons.append(f"{tag} {_clip(value.domain)}: more parameters than can be handed to the caller")
        elif question.parameters_to_caller:
            handed_over.append((value, record))
        elif problem := _parameters_problem(value, question):
            reasons.append(f"{tag} {_clip(value.domain)}: {problem}")
        else:
            return _Decision(True, f"{tag} names {_clip(value.domain)}", _clipped(value.parameters), record)
    if handed_over:
        # The least restricted of those that name us; which of several applies is the caller's to see.
        value, record = min(handed_over, key=lambda one: len(one[0].parameters))
        reason = f"{tag} names us; its parameters are for the caller to decide"
        return _Decision(True, reason, _clipped(value.parameters), record)
    return _Decision(False, "; ".join(reasons[:8]) + ("; …" if len(reasons) > 8 else ""))


def _parameters_problem(value: IssueValue, question: CaaQuestion) -> str | None:
    """Why RFC 8657 parameters leave the property unsatisfied, or None."""
    uris = [text for tag, text in value.parameters if tag == "accounturi"]
    methods = [text for tag, text in value.parameters if tag == "validationmethods"]
    if len(uris) > 1 or len(methods) > 1:
        return "a doubled parameter (RFC 8657 sections 3, 4)"
    if uris and uris[0] != question.account_uri:
        return "accounturi is another account, or the caller named none (RFC 8657 section 3)"
    if methods and not _names_method(methods[0], question.validation_method):
        return "validationmethods does not name the method, or the caller named none (RFC 8657 section 4)"
    return None


def _names_method(text: str, method: str | None) -> bool:
    labels = text.split(",") if text else []
    if not all(label and _LABEL.issuperset(label.encode()) for label in labels):
        return False
    return method is not None and method in labels


def presentation(rdata: bytes) -> str:
    """`flags tag "value"` with everything but printable ASCII escaped, clipped; generic where it does not parse."""
    record = read_record(rdata)
    if record.tag is None:
        return _clip(f"\\# {len(rdata)} {rdata[:MAX_TEXT_CHARS].hex()}")
    tag = rdata[2 : 2 + rdata[1]].decode("ascii")
    value = "".join([_TEXT_OF_BYTE[b] for b in record.value[:MAX_TEXT_CHARS]])
    return _clip(f'{rdata[0]} {tag} "{value}"')


def _clipped(parameters: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((_clip(tag), _clip(value)) for tag, value in parameters)


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"
