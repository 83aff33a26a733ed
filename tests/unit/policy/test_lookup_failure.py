"""The table of causes: what is in it, that the document says the same, and what questions to name servers show."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from appliance.model.observation import Fault, ServerAsked, ServerSaid
from appliance.policy.lookup_failure import CAUSES, Permits, cause_of, judge

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "packaging" / "docs" / "caa-lookup-failure.md"
A, B = "192.0.9.1", "2a00::1"
SILENCE_US = 5_000_000
FAILED = {ServerSaid.ERROR, ServerSaid.CLOSED}


def asked(
    number: int, address: str, caa: ServerSaid, soa: ServerSaid, waited_us: int = SILENCE_US
) -> list[ServerAsked]:
    return [
        ServerAsked(number, address, "CAA", caa, elapsed_us=waited_us),
        ServerAsked(number, address, "SOA", soa, elapsed_us=1000),
    ]


def test_the_document_has_the_same_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\S+) \| ([^|]+) \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [(one.code, one.fault.value, one.permits.value, one.text) for one in CAUSES.values()]


def test_only_these_may_permit() -> None:
    by_permits = {permits: {one.code for one in CAUSES.values() if one.permits is permits} for permits in Permits}
    assert by_permits[Permits.YES] == {"caa.servers-fail", "caa.servers-drop"}
    assert by_permits[Permits.IF_SHOWN] == {"dns.timeout", "dns.servfail"}


@pytest.mark.parametrize("code", ["", "dns.new", "caa.new", "dns.unfinished", "check.unexpected"])
def test_what_nobody_thought_of_refuses(code: str) -> None:
    assert cause_of(code).permits is Permits.NEVER
    assert cause_of(code).fault is Fault.APPLIANCE


def test_every_cause_of_the_code_has_a_row() -> None:
    files = [
        ROOT / "appliance" / "net" / "dns" / "resolver.py",
        *(ROOT / "appliance" / "checks").glob("*.py"),
        ROOT / "appliance" / "policy" / "lookup_failure.py",
    ]
    named = {code for file in files for code in re.findall(r'"((?:dns|caa)\.[a-z.-]+)"', file.read_text())}
    # Names of steps, of causes that end no look-up for CAA, and the end of a climb that was answered.
    others = {"caa.lookup-failure", "caa.forbidden", "caa.test", "dns.delegation", "dns.no-name", "dns.no-address"}
    assert named - others <= set(CAUSES)
    assert {code for code in CAUSES if code.startswith("caa.")} <= named


def test_every_answer_of_one_server_in_two_rounds() -> None:
    """Of all that one server may say, only errors, closed ports, and silence beside an answer about SOA permit."""
    for first, second, soa in product(ServerSaid, ServerSaid, ServerSaid):
        found = judge([*asked(1, A, first, soa), *asked(2, A, second, soa)], [A], SILENCE_US)
        good = FAILED | ({ServerSaid.SILENT} if soa is ServerSaid.ANSWER else set())
        permits = first in good and second in good
        assert (cause_of(found).permits is Permits.YES) is permits, (first, second, soa, found)


def test_every_server_has_to_fail() -> None:
    for said in ServerSaid:
        questions = [
            one
            for number in (1, 2)
            for one in (
                *asked(number, A, ServerSaid.ERROR, ServerSaid.ERROR),
                *asked(number, B, said, ServerSaid.ERROR),
            )
        ]
        found = judge(questions, [A, B], SILENCE_US)
        assert (cause_of(found).permits is Permits.YES) is (said in FAILED)


@pytest.mark.parametrize("left_out", range(4))
def test_every_address_is_asked_in_both_rounds(left_out: int) -> None:
    pairs = [asked(number, address, ServerSaid.ERROR, ServerSaid.ERROR) for number in (1, 2) for address in (A, B)]
    questions = [one for index, pair in enumerate(pairs) for one in pair if index != left_out]
    assert judge(questions, [A, B], SILENCE_US) == "caa.deadline"
    assert judge([], [A], SILENCE_US) == "caa.deadline"
    assert cause_of(judge([], [], SILENCE_US)).permits is Permits.NEVER


@pytest.mark.parametrize("number", [1, 2])
def test_silence_has_to_last_in_each_round(number: int) -> None:
    least_us = {1: SILENCE_US, 2: SILENCE_US * 4 // 5}[number]
    for waited_us, cause in ((least_us - 1, "caa.deadline"), (least_us, "caa.servers-drop"), (0, "caa.deadline")):
        questions = [
            *asked(number, A, ServerSaid.SILENT, ServerSaid.ANSWER, waited_us),
            *asked(3 - number, A, ServerSaid.SILENT, ServerSaid.ANSWER),
        ]
        assert judge(questions, [A], SILENCE_US) == cause


def test_one_that_drops_beside_one_that_fails_permits_and_says_so() -> None:
    questions = [
        one
        for number in (1, 2)
        for one in (
            *asked(number, A, ServerSaid.ERROR, ServerSaid.ERROR),
            *asked(number, B, ServerSaid.SILENT, ServerSaid.ANSWER),
        )
    ]
    assert judge(questions, [A, B], SILENCE_US) == "caa.servers-drop"


def test_silence_of_soa_shows_nothing_of_caa() -> None:
    questions = [ServerAsked(number, A, "CAA", ServerSaid.SILENT, elapsed_us=SILENCE_US) for number in (1, 2)]
    assert judge(questions, [A], SILENCE_US) == "caa.server-silent"
