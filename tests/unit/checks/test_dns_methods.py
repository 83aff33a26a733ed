"""The methods that read DNS records: what they ask, and which records match."""

from __future__ import annotations

import pytest

from appliance.checks.dns_account_01 import account_label
from appliance.checks.run import run
from appliance.model.check import (
    AcmeDns01Check,
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
    IpAddressCheck,
    ReverseAddressLookupCheck,
)
from appliance.model.identifier import Identifier
from appliance.model.observation import CheckError, DnssecStatus, Lookup, Outcome, Record
from appliance.net.dns.resolver import Reply
from appliance.policy.delegation import DelegationRules
from tests.unit.checks.help import NOW, Table, address, asked, context, name, request
from tests.unit.net.web import FakeResolver

MATCH, MISMATCH, ERROR = Outcome.MATCH, Outcome.MISMATCH, Outcome.ERROR
N = name("n.example")
URI = "https://ca.example/acct/1"
SECONDS = int(NOW.timestamp())
FAILED = CheckError("dns.servfail", "SERVFAIL", "dns.TXT")
TXT, CAA, CNAME = DnsChangeType.TXT, DnsChangeType.CAA, DnsChangeType.CNAME


async def outcome(check: AnyCheck, identifier: Identifier, table: Table) -> Outcome:
    observation = await run(request(identifier, check), context(table))
    assert observation.corroborates is (observation.outcome is MATCH)
    return observation.outcome


def test_account_label_of_the_draft() -> None:
    # draft-ietf-acme-dns-account-label, section 3.2
    assert account_label("https://example.com/acme/acct/ExampleAccount") == "_ujmmovf2vn55tgye"


@pytest.mark.parametrize(
    ("owner", "record", "expected"),
    [
        ("_ujmmovf2vn55tgye._acme-challenge.n.example", '"digest"', MATCH),
        ("_ujmmovf2vn55tgye._acme-challenge.n.example", '"DIGEST"', MISMATCH),
        ("_acme-challenge.n.example", '"digest"', MISMATCH),
    ],
)
async def test_dns_account_01(owner: str, record: str, expected: Outcome) -> None:
    check = DnsAccount01Check("digest", "https://example.com/acme/acct/ExampleAccount")
    assert await outcome(check, N, {(owner, "TXT"): [record]}) is expected


@pytest.mark.parametrize(
    ("check", "owner", "records", "expected"),
    [
        (DnsChangeCheck("value", TXT, "_dcv", True), "_dcv.n.example", ['"value"'], MATCH),
        (DnsChangeCheck("value", TXT, "_dcv", True), "_dcv.n.example", ['"va" "lue"'], MATCH),
        (DnsChangeCheck("value", TXT, "_dcv", True), "_dcv.n.example", ['"a value"'], MISMATCH),
        (DnsChangeCheck("value", TXT, "_dcv", False), "_dcv.n.example", ['"a value b"'], MATCH),
        (DnsChangeCheck("value", TXT, "_dcv", False), "_dcv.n.example", ['"a Value b"'], MISMATCH),
        (DnsChangeCheck("value", TXT, "_dcv", False), "n.example", ['"value"'], MISMATCH),
        (DnsChangeCheck("value", TXT), "n.example", ['"x"', '"value"'], MATCH),
        (DnsChangeCheck("", TXT), "n.example", ['"x"'], MISMATCH),
        (DnsChangeCheck("", TXT, "", True), "n.example", ['""'], MISMATCH),
        (DnsChangeCheck("value", CAA, "", True), "n.example", ['0 issue "value"'], MATCH),
        (DnsChangeCheck("value", CAA, "", False), "n.example", ['0 other "a value"'], MATCH),
        (DnsChangeCheck("value", CAA, "", True), "n.example", ['0 issue "VALUE"'], MISMATCH),
        (DnsChangeCheck("issue", CAA, "", False), "n.example", ['0 issue "x"'], MISMATCH),
        (DnsChangeCheck("t.ca.example", CNAME, "_d", True), "_d.n.example", ["t.ca.example."], MATCH),
        (DnsChangeCheck("T.CA.example.", CNAME, "_d", True), "_d.n.example", ["t.ca.Example."], MATCH),
        (DnsChangeCheck("value.ca.example", CNAME, "_d", True), "_d.n.example", ["x.value.ca.example."], MISMATCH),
        (DnsChangeCheck("value", CNAME, "_d", False), "_d.n.example", ["value.ca.example."], MATCH),
        (DnsChangeCheck(".", CNAME, "_d", False), "_d.n.example", ["value.ca.example."], MISMATCH),
    ],
)
async def test_dns_change(check: DnsChangeCheck, owner: str, records: list[str], expected: Outcome) -> None:
    assert await outcome(check, N, {(owner, check.dns_record_type.value): records}) is expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([f'"ca.example; accounturi={URI}"'], MATCH),
        ([f'"ca.example; accounturi={URI}; persistUntil={SECONDS}"'], MATCH),
        ([f'"ca.example; accounturi={URI}; persistUntil={SECONDS - 1}"'], MISMATCH),
        (['"nonsense"', f'"evil.example; accounturi={URI}"', f'"ca.example; accounturi={URI}"'], MATCH),
        ([f'"ca.example; accounturi={URI}/"'], MISMATCH),
        ([], MISMATCH),
    ],
)
async def test_dns_persistent(records: list[str], expected: Outcome) -> None:
    check = DnsPersistentCheck(("ca.example",), URI)
    assert await outcome(check, N, {("_validation-persist.n.example", "TXT"): records}) is expected
    owner = "_ip-validation-persist.1.0.18.198.in-addr.arpa"
    assert await outcome(check, address("198.18.0.1"), {(owner, "TXT"): records}) is expected


async def test_dns_persistent_of_an_ipv6_address_is_in_ip6_arpa() -> None:
    ctx = context({})
    await run(request(address("2001:db8::1"), DnsPersistentCheck(("ca.example",), URI)), ctx)
    ((owner, _),) = asked(ctx)
    assert owner == "_ip-validation-persist.1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"


@pytest.mark.parametrize(
    ("selected", "seen", "expected"),
    [
        ("Host@n.example", "Host@n.example", MATCH),
        ("Host@n.example", "Host@N.EXAMPLE", MATCH),
        ("Host@n.example", "host@n.example", MISMATCH),
        ("Host@n.example", " Host@n.example", MISMATCH),
        ("Host@n.example", "Host@n.example,x@y.example", MISMATCH),
        ("Host@n.example", "", MISMATCH),
    ],
)
async def test_contact_emails(selected: str, seen: str, expected: Outcome) -> None:
    txt: Table = {("_validation-contactemail.n.example", "TXT"): [f'"{seen}"']}
    assert await outcome(ContactEmailTxtCheck(selected), N, txt) is expected
    caa: Table = {("n.example", "CAA"): [f'0 ContactEmail "{seen}"']}
    assert await outcome(ContactEmailCaaCheck(selected), name("www.n.example"), caa) is expected
    other: Table = {("n.example", "CAA"): [f'0 contactphone "{seen}"', f'0 issue "{seen}"']}
    assert await outcome(ContactEmailCaaCheck(selected), N, other) is MISMATCH


@pytest.mark.parametrize(
    ("selected", "seen", "expected"),
    [
        ("+15550100", "+15550100", MATCH),
        ("+15550100", "+1-555-0100", MATCH),
        ("+1(555)0100", "+1.555.0100", MATCH),
        ("+15550100", "15550100", MISMATCH),
        ("+15550100", "+155501001", MISMATCH),
        ("+15550100", "+15550100;ext=1", MISMATCH),
    ],
)
async def test_contact_phones(selected: str, seen: str, expected: Outcome) -> None:
    txt: Table = {("_validation-contactphone.n.example", "TXT"): [f'"{seen}"']}
    assert await outcome(ContactPhoneTxtCheck(selected), N, txt) is expected
    caa: Table = {("n.example", "CAA"): [f'0 contactphone "{seen}"']}
    assert await outcome(ContactPhoneCaaCheck(selected), N, caa) is expected


async def test_contacts_in_caa_come_from_the_nearest_rrset() -> None:
    table: Table = {
        ("a.n.example", "CAA"): ['0 issue "ca.example"'],
        ("n.example", "CAA"): ['0 contactemail "x@n.example"'],
    }
    assert await outcome(ContactEmailCaaCheck("x@n.example"), name("a.n.example"), table) is MISMATCH
    assert await outcome(ContactEmailCaaCheck("x@n.example"), name("b.n.example"), table) is MATCH


@pytest.mark.parametrize(
    ("check", "table", "expected"),
    [
        (IpAddressCheck("198.18.0.1", AddressType.A), {("n.example", "A"): ["198.18.0.2", "198.18.0.1"]}, MATCH),
        (IpAddressCheck("198.18.0.1", AddressType.A), {("n.example", "A"): ["198.18.0.2"]}, MISMATCH),
        (IpAddressCheck("2001:DB8:0::1", AddressType.AAAA), {("n.example", "AAAA"): ["2001:db8::1"]}, MATCH),
        (IpAddressCheck("198.18.0.1", AddressType.A), {("n.example", "A"): FAILED}, ERROR),
    ],
)
async def test_ip_address(check: IpAddressCheck, table: Table, expected: Outcome) -> None:
    assert await outcome(check, N, table) is expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [(["N.example."], MATCH), (["x.example.", "n.example."], MATCH), (["nn.example."], MISMATCH), ([], MISMATCH)],
)
async def test_reverse_address_lookup(records: list[str], expected: Outcome) -> None:
    table: Table = {("1.0.18.198.in-addr.arpa", "PTR"): records}
    assert await outcome(ReverseAddressLookupCheck("n.example"), address("198.18.0.1"), table) is expected


class Chained(FakeResolver):
    """Answers with the TXT value at the end of a chain of these targets."""

    targets: tuple[str, ...] = ()

    async def query(self, name: str, rdtype: str) -> Reply:
        chain = tuple(Record(name, "CNAME", 60, target) for target in self.targets)
        return Reply(Lookup(name, rdtype, "NOERROR", False, DnssecStatus.INSECURE, (), chain), (b"\x06digest",))


@pytest.mark.parametrize(
    ("targets", "target", "expected"),
    [
        ((), None, MATCH),
        (("x.example.",), None, MATCH),
        (("a1.dcv.ca.example.",), "a1.dcv.ca.example", MATCH),
        (("a1.dcv.ca.example.",), "a2.dcv.ca.example", MISMATCH),
        (("a1.dcv.ca.example.",), None, MISMATCH),
        (("x.example.", "y.example.", "z.example."), None, ERROR),
    ],
)
async def test_delegation(targets: tuple[str, ...], target: str | None, expected: Outcome) -> None:
    resolver = Chained({})
    resolver.targets = targets
    ctx = context(resolver=resolver, delegation=DelegationRules(2, ("dcv.ca.example",)))
    observation = await run(request(N, AcmeDns01Check("digest", target)), ctx)
    assert observation.outcome is expected
    assert [record.data for record in observation.lookups[0].chain] == list(targets)
    change = DnsChangeCheck("digest", TXT, "_dcv", True, target)
    assert (await run(request(N, change), ctx)).outcome is expected


async def test_observations_name_the_rule_and_the_weakest_dnssec_status() -> None:
    observation = await run(request(N, AcmeDns01Check("digest")), context({}))
    assert (observation.br_section, observation.br_version) == ("3.2.2.4.7", "2.2.6")
    assert observation.dnssec is DnssecStatus.INSECURE
    observation = await run(request(address("198.18.0.1"), ReverseAddressLookupCheck("n.example")), context({}))
    assert observation.br_section == "3.2.2.5.3"


JUNK = [f'"junk-{n}"' for n in range(70)]
LONG = '"' + '" "'.join(["x" * 250] * 3) + '" "the-digest-is-here" "' + "y" * 250 + '"'


@pytest.mark.parametrize(
    ("check", "owner", "record", "in_evidence"),
    [
        (AcmeDns01Check("digest"), "_acme-challenge.n.example", '"digest"', "digest"),
        (DnsChangeCheck("digest", TXT, require_exact_match=False), "n.example", LONG, "digest"),
        (ContactEmailTxtCheck("a@b.example"), "_validation-contactemail.n.example", '"a@B.example"', "a@B.example"),
    ],
)
async def test_the_record_that_matched_is_in_the_evidence_whatever_else_is_there(
    check: AnyCheck, owner: str, record: str, in_evidence: str
) -> None:
    observation = await run(request(N, check), context({(owner, "TXT"): [*JUNK, record]}))
    assert observation.outcome is MATCH
    assert any(in_evidence in text for text in observation.seen)
    assert len(observation.seen) == 64
    assert max(map(len, observation.seen)) <= 513
