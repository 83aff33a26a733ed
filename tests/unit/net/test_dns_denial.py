"""Denials of DS: NSEC and NSEC3 as dnspython makes them, and what only looks like one."""

from __future__ import annotations

import dns.dnssec
import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.observation import CheckError, DnssecStatus
from appliance.net.dns.denial import denial_at_zone_cut, nsec3_hash
from appliance.net.dns.message import Rr, parse_response, question
from appliance.net.dns.names import name_to_wire
from appliance.net.dns.rdata import TYPES
from tests.unit.net.test_dns_resolver import reply, serving

NAME = "n.example"


def authority(*rrsets: dns.rrset.RRset) -> tuple[Rr, ...]:
    response = dns.message.make_response(dns.message.make_query(NAME, "DS", want_dnssec=True))
    response.authority = list(rrsets)
    asked = question(name_to_wire(NAME), TYPES["DS"])
    return parse_response(response.to_wire(), asked, with_authority=True).authority


def nsec(owner: str, types: str, following: str = "o.example.") -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, 60, "IN", "NSEC", f"{following} {types}")


def nsec3(hashed: str, types: str, *, opt_out: int = 0, iterations: int = 1) -> dns.rrset.RRset:
    owner = dns.dnssec.nsec3_hash(hashed, "aabb", iterations, 1).lower() + ".example."
    return dns.rrset.from_text(owner, 60, "IN", "NSEC3", f"1 {opt_out} {iterations} aabb {'0' * 31}1 {types}")


@pytest.mark.parametrize(
    ("records", "denied"),
    [
        ([nsec("n.example.", "NS RRSIG NSEC")], True),
        ([nsec("N.EXAMPLE.", "NS RRSIG NSEC TYPE300")], True),
        ([nsec("n.example.", "NS DS RRSIG NSEC")], False),
        ([nsec("n.example.", "NS SOA RRSIG NSEC")], False),
        ([nsec("n.example.", "A TXT RRSIG NSEC")], False),
        ([nsec("m.example.", "NS RRSIG NSEC")], False),
        ([nsec3("n.example.", "NS")], True),
        ([nsec3("n.example.", "NS", opt_out=1)], True),
        ([nsec3("n.example.", "NS DS RRSIG")], False),
        ([nsec3("n.example.", "NS SOA RRSIG")], False),
        ([nsec3("n.example.", "A RRSIG")], False),
        ([nsec3("example.", "NS", opt_out=1)], False),
        ([nsec3("n.example.", "NS", iterations=151)], False),
        ([nsec("m.example.", "NS RRSIG NSEC"), nsec("n.example.", "NS RRSIG NSEC")], True),
        ([], False),
    ],
)
def test_denials(records: list[dns.rrset.RRset], denied: bool) -> None:
    assert (denial_at_zone_cut(name_to_wire(NAME), authority(*records)) is not None) is denied


@given(st.text("abcdefgXYZ-", min_size=1, max_size=30), st.binary(max_size=8), st.integers(0, 20))
def test_hashes_are_those_of_dnspython(label: str, salt: bytes, iterations: int) -> None:
    from base64 import b32hexencode  # noqa: PLC0415

    ours = b32hexencode(nsec3_hash(name_to_wire(f"{label}.example"), salt, iterations)).decode()
    assert ours == dns.dnssec.nsec3_hash(f"{label}.example.", salt, iterations, 1)


@given(st.binary(max_size=80), st.sampled_from(["NSEC", "NSEC3"]))
def test_hostile_rdata_raises_nothing(rdata: bytes, rdtype: str) -> None:
    denial_at_zone_cut(name_to_wire(NAME), (Rr(name_to_wire(NAME), TYPES[rdtype], 1, rdata),))


@pytest.mark.parametrize("ad", [True, False])
async def test_only_what_the_resolver_authenticated_is_a_denial(ad: bool) -> None:
    def script(query: dns.message.Message) -> list[bytes]:
        assert query.ednsflags & dns.flags.DO
        response = reply(query, ad=ad)
        response.authority = [nsec("n.example.", "NS RRSIG NSEC")]
        return [response.to_wire()]

    async with serving(script) as (resolver, _):
        delegation = await resolver.delegation(NAME)
    assert delegation.denied is ad
    assert delegation.lookup.dnssec is (DnssecStatus.SECURE if ad else DnssecStatus.INSECURE)
    assert [(r.name, r.type) for r in delegation.lookup.records] == ([("n.example", "NSEC")] if ad else [])


async def test_a_failed_ds_look_up_denies_nothing() -> None:
    async with serving(lambda _: [], timeout_s=0.05) as (resolver, _):
        delegation = await resolver.delegation(NAME)
    assert not delegation.denied
    assert isinstance(delegation.lookup.error, CheckError)
