"""CAA evaluation: the examples of RFC 8659 and RFC 8657, the rules of BR 3.2.2.8, and hostile values."""

from __future__ import annotations

import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.check import CertificateType
from appliance.policy.caa import CaaQuestion, evaluate, presentation, read_issue_value, read_record

CA = "ca.example"
TLS, MAIL = CertificateType.TLS_SERVER, CertificateType.S_MIME


def wire(text: str) -> bytes:
    rdata = dns.rdata.from_text("IN", "CAA", text).to_wire()
    assert rdata is not None
    return rdata


def permitted(
    *records: str,
    wildcard: bool = False,
    kind: CertificateType = TLS,
    account: str | None = None,
    method: str | None = None,
    to_caller: bool = False,
) -> bool:
    question = CaaQuestion(kind, wildcard, (CA, "Other.CA.example"), account, method, to_caller)
    return evaluate([wire(record) for record in records], "n.example", question).permitted


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        ([], True),
        (['0 issue "ca.example"'], True),
        (['0 issue "CA.Example"'], True),
        (['0 ISSUE "ca.example"'], True),
        (['0 issue "other.ca.example"'], True),
        (['0 issue "  ca.example  "'], True),
        (['0 issue "ca.example; policy=ev"'], True),
        (['0 issue "ca.example; "'], True),
        (['0 issue "ca.example;"'], True),
        (['0 issue "ca.example; a=b; c = d "'], True),
        (['0 issue "ca.example; a="'], True),
        (['0 issue "evil.example"'], False),
        (['0 issue "sub.ca.example"'], False),
        (['0 issue "ca.example."'], False),
        (['0 issue "ca.example evil.example"'], False),
        (['0 issue ";"'], False),
        (['0 issue ""'], False),
        (['0 issue "%%%%%"'], False),
        (['0 issue "ca.example; a"'], False),
        (['0 issue "ca.example; a=b c"'], False),
        (['0 issue "ca.example; a=b;"'], False),
        (['0 issue "ca.example; -a=b"'], False),
        (['0 issue "-ca.example"'], False),
        (['0 issue "ca..example"'], False),
        (['0 issue ";"', '0 issue "ca.example"'], True),
        (['0 issue "%%%"', '0 issue "ca.example"'], True),
        (['0 issue "evil.example"', '0 issue "ca.example"'], True),
        (['0 iodef "mailto:a@b.example"'], True),
        (['0 issuewild "evil.example"'], True),
        (['0 issuewild ";"'], True),
        (['0 issuemail "evil.example"'], True),
        (['0 contactemail "a@b.example"'], True),
        (['128 contactphone "+1"'], True),
        (['128 issue "ca.example"'], True),
        (['0 tbs "Unknown"'], True),
        (['128 tbs "Unknown"'], False),
        (['129 tbs "Unknown"', '0 issue "ca.example"'], False),
        (['1 tbs "Unknown"'], True),
        (['127 tbs "Unknown"'], True),
        (['128 tbs "Unknown"', '0 issue "ca.example"'], False),
    ],
)
def test_a_name_that_is_no_wildcard(records: list[str], answer: bool) -> None:
    assert permitted(*records) is answer


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        (['0 issue "ca.example"'], True),
        (['0 issue "evil.example"'], False),
        (['0 issuewild "ca.example"'], True),
        (['0 issuewild ";"'], False),
        (['0 issue "ca.example"', '0 issuewild ";"'], False),
        (['0 issue ";"', '0 issuewild "ca.example"'], True),
        (['0 issue "ca.example"', '0 issuewild "evil.example"'], False),
        (['0 issuewild "evil.example"', '0 issuewild "ca.example"'], True),
        (['0 iodef "mailto:a@b.example"'], True),
    ],
)
def test_a_wildcard(records: list[str], answer: bool) -> None:
    assert permitted(*records, wildcard=True) is answer


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        ([], True),
        (['0 issue ";"'], True),
        (['0 issuemail "ca.example"'], True),
        (['0 issuemail "evil.example"'], False),
        (['0 issuemail ";"'], False),
        (['0 IssueMail ";"', '0 issuemail "ca.example"'], True),
        (['128 tbs "Unknown"'], False),
    ],
)
def test_s_mime(records: list[str], answer: bool) -> None:
    assert permitted(*records, kind=MAIL) is answer


URI = "https://ca.example/acct/1"


@pytest.mark.parametrize(
    ("value", "account", "method", "answer"),
    [
        (f"ca.example; accounturi={URI}", URI, None, True),
        (f"ca.example; AccountURI={URI}", URI, None, True),
        (f"ca.example; accounturi={URI}", None, None, False),
        (f"ca.example; accounturi={URI}", URI + "2", None, False),
        (f"ca.example; accounturi={URI}", URI.upper(), None, False),
        (f"ca.example; AccountURI={URI}", "x", None, False),
        (f"ca.example; accounturi={URI}; accounturi={URI}", URI, None, False),
        ("ca.example; accounturi=", None, None, False),
        ("ca.example; validationmethods=dns-01", None, "dns-01", True),
        ("ca.example; validationmethods=http-01,dns-01", None, "dns-01", True),
        ("ca.example; validationmethods=http-01", None, "dns-01", False),
        ("ca.example; validationmethods=http-01", None, None, False),
        ("ca.example; validationmethods=DNS-01", None, "dns-01", False),
        ("ca.example; validationmethods=", None, "dns-01", False),
        ("ca.example; validationmethods=dns-01,", None, "dns-01", False),
        ("ca.example; validationmethods=dns-01,!!", None, "dns-01", False),
        ("ca.example; validationmethods=dns-01; validationmethods=dns-01", None, "dns-01", False),
        (f"ca.example; validationmethods=dns-01; accounturi={URI}", URI, "dns-01", True),
        (f"ca.example; validationmethods=dns-01; accounturi={URI}", URI, "http-01", False),
        (f"ca.example; validationmethods=dns-01; accounturi={URI}", None, "dns-01", False),
    ],
)
def test_rfc_8657_parameters(value: str, account: str | None, method: str | None, answer: bool) -> None:
    assert permitted(f'0 issue "{value}"', account=account, method=method) is answer
    assert permitted(f'0 issue "{value}"', '0 issue "ca.example"') is True


def test_parameters_may_be_the_callers_to_decide() -> None:
    record = wire(f'0 issue "ca.example; accounturi={URI}; validationmethods=dns-01"')
    finding = evaluate([record], "n.example", CaaQuestion(TLS, False, (CA,), None, None, True))
    assert finding.permitted
    assert finding.parameters == (("accounturi", URI), ("validationmethods", "dns-01"))
    assert not permitted('0 issue "evil.example; a=b"', to_caller=True)


def test_parameters_that_would_be_cut_off_are_not_handed_over() -> None:
    junk = "".join(f"; p{n}=x" for n in range(16))
    restricted = f'0 issue "ca.example{junk}; validationmethods=dns-01"'
    assert not permitted(restricted, to_caller=True)
    assert permitted(f'0 issue "ca.example{junk}"', to_caller=True)
    assert permitted(restricted, method="dns-01")


def test_the_record_that_decided_is_in_the_finding_whatever_else_is_there() -> None:
    others = [wire(f'0 issue "other-{n}.example"') for n in range(70)]
    for decisive in ('0 issue "ca.example"', '128 unknown "x"'):
        finding = evaluate([*others, wire(decisive)], "n.example", CaaQuestion(TLS, False, (CA,), None, None))
        assert decisive in finding.rrset
        assert len(finding.rrset) == 64


def test_the_finding_says_what_and_why() -> None:
    finding = evaluate([wire('0 issue "evil.example"')], "n.example", CaaQuestion(TLS, False, (CA,), None, None))
    assert (finding.permitted, finding.found_at, finding.rrset) == (False, "n.example", ('0 issue "evil.example"',))
    assert "evil.example" in finding.reason
    assert evaluate([], None, CaaQuestion(TLS, False, (CA,), None, None)).found_at is None


@pytest.mark.parametrize("rdata", [b"", b"\0", b"\0\5", b"\0\0", b"\0\0abc", b"\0\x40issue", b"\0\5issu"])
def test_rdata_that_does_not_parse_forbids(rdata: bytes) -> None:
    assert not evaluate(
        [rdata, wire('0 issue "ca.example"')], "n.example", CaaQuestion(TLS, False, (CA,), None, None)
    ).permitted


def test_a_tag_of_other_characters_forbids_only_where_critical() -> None:
    for flags, answer in ((0, True), (128, False)):
        rdata = bytes([flags, 3]) + b"a-bvalue"
        assert evaluate([rdata], "n.example", CaaQuestion(TLS, False, (CA,), None, None)).permitted is answer


@pytest.mark.timeout(30)
def test_hostile_values_take_linear_time() -> None:
    values = [
        b"ca.example" + b";a=b" * 15000,
        b"-" * 65000,
        b"a." * 32000,
        b" \t" * 32000,
        b"ca.example;" + b"a" * 65000,
    ]
    values += [b"ca.example;" + b"validationmethods=" + b"a," * 30000, b";" * 65000, b"=" * 65000]
    for value in values:
        evaluate([b"\0\5issue" + value] * 4, "n.example", CaaQuestion(TLS, False, (CA,), "x", "y"))


@given(st.binary(max_size=200), st.booleans(), st.sampled_from(list(CertificateType)))
def test_hostile_rdata_never_permits_what_does_not_name_us(rdata: bytes, wildcard: bool, kind: CertificateType) -> None:
    question = CaaQuestion(kind, wildcard, (CA,), None, None)
    finding = evaluate([rdata, wire('0 issue ";"'), wire('0 issuemail ";"')], "x.example", question)
    if finding.permitted:
        assert CA.encode() in rdata.lower()
    assert all(len(text) <= 512 and text.isprintable() for text in finding.rrset)


@given(st.text("ca.example;= \taB-,", max_size=60))
def test_issue_values_agree_with_the_grammar(text: str) -> None:
    ours = read_issue_value(text.encode())
    assert (ours is not None) == _matches_grammar(text)


def _matches_grammar(text: str) -> bool:
    """RFC 8659 section 4.2 as a regular expression, which only a test may use."""
    import re  # noqa: PLC0415

    label = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
    parameter = rf"{label}[ \t]*=[ \t]*[\x21-\x3a\x3c-\x7e]*"
    domain = rf"(?:{label}(?:\.{label})*[ \t]*)?"
    tail = rf"(?:;[ \t]*(?:{parameter}(?:[ \t]*;[ \t]*{parameter})*[ \t]*)?)?"
    return re.fullmatch(rf"[ \t]*{domain}{tail}", text) is not None


@given(st.integers(0, 255), st.text("abcXYZ019", min_size=1, max_size=15), st.binary(max_size=80))
def test_presentation_is_that_of_dnspython(flags: int, tag: str, value: bytes) -> None:
    rdata = bytes([flags, len(tag)]) + tag.encode() + value
    assert presentation(rdata) == dns.rdata.from_wire("IN", "CAA", rdata, 0, len(rdata)).to_text()
    assert read_record(rdata).value == value
