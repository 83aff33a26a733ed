"""The wire code, held to dnspython and to hostile bytes."""

from __future__ import annotations

from itertools import pairwise

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdtypes.ANY.TXT import TXT
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.dns.message import (
    MAX_ANSWER_RECORDS,
    MAX_CHAIN,
    answers,
    build_query,
    parse_response,
    question,
    rcode_name,
)
from appliance.net.dns.names import BadName, Malformed, name_to_text, name_to_wire, read_name
from appliance.net.dns.rdata import TYPES, presentation, type_name

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_ABC", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=6).map(".".join)
TTLS = st.integers(0, 2**31 - 1)


def respond(name: str, rdtype: str, answer: list[dns.rrset.RRset], *, flags: int = 0, rcode: int = 0) -> bytes:
    query = dns.message.from_wire(build_query(7, question(name_to_wire(name), TYPES[rdtype])))
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= flags
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.answer = answer
    return response.to_wire(max_size=65535)


def rr(owner: str, rdtype: str, *data: str, ttl: int = 300) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner.removesuffix(".") + ".", ttl, "IN", rdtype, *data)


def asked(name: str, rdtype: str) -> bytes:
    return question(name_to_wire(name), TYPES[rdtype])


@given(NAMES, st.sampled_from(sorted(TYPES)), st.integers(0, 65535))
def test_a_query_is_what_dnspython_reads(name: str, rdtype: str, message_id: int) -> None:
    message = dns.message.from_wire(build_query(message_id, asked(name, rdtype)))
    assert message.id == message_id
    assert message.question[0].name == dns.name.from_text(name)
    assert dns.rdatatype.to_text(message.question[0].rdtype) == rdtype
    assert message.edns == 0
    assert message.ednsflags == 0
    assert message.flags == dns.flags.RD | dns.flags.AD


@given(st.binary(max_size=40))
def test_names_that_are_none_are_refused(raw: bytes) -> None:
    text = raw.decode("latin-1")
    try:
        wire = name_to_wire(text)
    except BadName:
        return
    assert dns.name.from_text(text).to_wire() == wire
    assert name_to_text(wire) == text.removesuffix(".") or text == "."


@pytest.mark.parametrize(
    "name", ["", "a..b", ".a", "a b", "a\\b", "é.example", "a" * 64, ".".join(["a" * 60] * 5), "a\0b", "a@b"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(BadName):
        name_to_wire(name)


@pytest.mark.parametrize(
    ("rdtype", "data"),
    [
        ("A", "198.18.0.1"),
        ("AAAA", "2001:db8::1"),
        ("AAAA", "::ffff:1.2.3.4"),
        ("TXT", '"one" "two \\"quoted\\" \\\\ \\255\\000"'),
        ("TXT", '""'),
        ("CAA", '128 issue "ca.example; a=b"'),
        ("CAA", '0 iodef "mailto:x@y.example"'),
        ("PTR", "host.example."),
        ("CNAME", "other.example."),
        ("NS", "ns1.example."),
        ("MX", "10 mail.example."),
        ("SOA", "ns.example. root.example. 1 2 3 4 5"),
        ("DS", "12345 13 2 " + "ab" * 32),
        ("DNSKEY", "257 3 13 AAAA"),
    ],
)
def test_presentation_is_that_of_dnspython(rdtype: str, data: str) -> None:
    response = parse_response(respond("n.example", rdtype, [rr("n.example", rdtype, data)]), asked("n.example", rdtype))
    (record,) = response.rrset
    expected = dns.rdata.from_text("IN", rdtype, data, origin=None, relativize=False)
    assert presentation(record.rdtype, record.rdata) == expected.to_text()
    assert record.rdata == expected.to_wire()
    assert record.ttl_s == 300


@given(
    st.lists(NAMES, min_size=1, max_size=5, unique_by=str.lower),
    st.lists(st.lists(st.binary(max_size=255), min_size=1, max_size=3), max_size=5),
    TTLS,
    st.booleans(),
)
def test_an_answer_with_a_chain(names: list[str], texts: list[list[bytes]], ttl: int, ad: bool) -> None:
    answer = [rr(a, "CNAME", b + ".", ttl=ttl) for a, b in pairwise(names)]
    if texts:
        end = dns.rrset.RRset(dns.name.from_text(names[-1]), dns.rdataclass.IN, dns.rdatatype.TXT)
        for strings in texts:
            end.add(TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings), ttl)
        answer.append(end)
    message = respond(names[0], "TXT", answer, flags=dns.flags.AD if ad else 0)
    assert answers(message, asked(names[0], "TXT"))
    response = parse_response(message, asked(names[0], "TXT"))
    assert response.ad is ad
    assert [name_to_text(link.rdata) for link in response.chain] == names[1:]
    assert [name_to_text(link.owner).lower() for link in response.chain] == [name.lower() for name in names[:-1]]
    assert sorted(record.rdata for record in response.rrset) == sorted(
        rdata.to_wire() for rdata in (answer[-1] if texts else ())
    )


def test_records_that_no_cname_led_to_are_ignored() -> None:
    answer = [
        rr("evil.example", "A", "198.18.0.66"),
        rr("n.example", "CNAME", "t.example."),
        rr("u.example", "A", "198.18.0.67"),
        rr("t.example", "A", "198.18.0.1"),
        rr("t.example", "CNAME", "w.example."),
        rr("w.example", "A", "198.18.0.68"),
    ]
    response = parse_response(respond("n.example", "A", answer), asked("n.example", "A"))
    assert [presentation(r.rdtype, r.rdata) for r in response.rrset] == ["198.18.0.1"]
    assert len(response.chain) == 1


def test_a_cname_asked_for_is_the_answer() -> None:
    response = parse_response(
        respond("n.example", "CNAME", [rr("n.example", "CNAME", "t.example.")]), asked("n.example", "CNAME")
    )
    assert [presentation(r.rdtype, r.rdata) for r in response.rrset] == ["t.example."]
    assert response.chain == ()


def test_case_of_owner_names_does_not_matter() -> None:
    message = respond("n.example", "A", [rr("N.eXample", "CNAME", "T.example."), rr("t.EXAMPLE", "A", "198.18.0.1")])
    assert len(parse_response(message, asked("n.example", "A")).rrset) == 1


def test_too_many_records_and_too_long_chains_are_refused() -> None:
    many = dns.rrset.from_text_list("n.example.", 1, "IN", "A", [f"198.18.{i // 250}.{i % 250}" for i in range(2000)])
    with pytest.raises(Malformed):
        parse_response(respond("n.example", "A", [many]), asked("n.example", "A"))
    some = dns.rrset.from_text_list("n.example.", 1, "IN", "A", [str(a) for a in many][:MAX_ANSWER_RECORDS])
    assert len(parse_response(respond("n.example", "A", [some]), asked("n.example", "A")).rrset) == len(some)
    links = [rr(f"n{i}.example", "CNAME", f"n{i + 1}.example.") for i in range(MAX_CHAIN + 1)]
    with pytest.raises(Malformed):
        parse_response(respond("n0.example", "A", links), asked("n0.example", "A"))


def test_extended_errors_and_rcodes() -> None:
    query = dns.message.from_wire(build_query(1, asked("n.example", "A")))
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.SERVFAIL)
    response.use_edns(
        0,
        options=[dns.edns.EDEOption(dns.edns.EDECode(6), "bo\x07gus\u202e"), dns.edns.EDEOption(dns.edns.EDECode(22))],
    )
    parsed = parse_response(response.to_wire(), asked("n.example", "A"))
    assert rcode_name(parsed.rcode) == "SERVFAIL"
    assert parsed.ede == ((6, "bo�gus�"), (22, ""))
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.BADVERS)
    assert rcode_name(parse_response(response.to_wire(), asked("n.example", "A")).rcode) == "RCODE16"


def test_a_truncated_answer_holds_nothing() -> None:
    message = bytearray(respond("n.example", "A", [rr("n.example", "A", "198.18.0.1")]))
    message[2] |= 0x02
    response = parse_response(bytes(message), asked("n.example", "A"))
    assert response.truncated
    assert response.rrset == ()


def test_a_response_to_another_question_is_none() -> None:
    message = respond("n.example", "A", [])
    assert not answers(message, asked("m.example", "A"))
    assert not answers(message, asked("n.example", "AAAA"))
    assert not answers(build_query(7, asked("n.example", "A")), asked("n.example", "A"))
    assert not answers(message[:11], asked("n.example", "A"))


def test_compression_loops_end() -> None:
    for loop in (b"\xc0\x00", b"\x01a\xc0\x00", b"\xc0\x02\xc0\x00"):
        with pytest.raises(Malformed):
            read_name(loop, 0)
    ladder = b"\0" + b"".join((max(0, 2 * i - 1) | 0xC000).to_bytes(2) for i in range(100))
    with pytest.raises(Malformed):
        read_name(ladder, len(ladder) - 2)


@given(st.data())
def test_mutated_responses_raise_nothing_else(data: st.DataObject) -> None:
    answer = [rr("n.example", "CNAME", "t.example."), rr("t.example", "SOA", "a.example. b.example. 1 2 3 4 5")]
    answer += [rr("t.example", "TXT", '"abc" "def"', '"x"'), rr("t.example", "CAA", '0 issue "ca.example"')]
    message = bytearray(respond("n.example", "TXT", answer, flags=dns.flags.AD))
    for _ in range(data.draw(st.integers(1, 6))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    if answers(cut, asked("n.example", "TXT")):
        check_like_dnspython(cut, "n.example")


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(tail: bytes) -> None:
    message = b"\0\7\x81\x80\0\1\0\4\0\1\0\1" + asked("n.example", "TXT") + tail
    check_like_dnspython(message, "n.example")


def check_like_dnspython(message: bytes, name: str) -> None:
    """What we accept, dnspython accepts with the same records of the answer's TXT RRset, where it accepts at all."""
    try:
        ours = parse_response(message, asked(name, "TXT"))
    except Malformed:
        return
    for record in (*ours.chain, *ours.rrset):
        assert len(presentation(record.rdtype, record.rdata)) <= 512
        name_to_text(record.owner)
        type_name(record.rdtype)
    try:
        theirs = dns.message.from_wire(message, ignore_trailing=True, one_rr_per_rrset=True)
    except Exception:  # dnspython checks the RDATA of types that we pass over
        return
    if ours.truncated:
        return
    seen = [
        rrset[0].to_wire()
        for rrset in theirs.answer
        if rrset.rdtype == dns.rdatatype.TXT and rrset.rdclass == dns.rdataclass.IN and len(rrset)
    ]
    assert [record.rdata for record in ours.rrset if record.rdata in seen] == [record.rdata for record in ours.rrset]
