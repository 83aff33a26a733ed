"""Nothing that a target sent reaches a page, a sheet or a terminal as anything but text; nothing needs much memory."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from appliance.cli.evidence.record_view import print_record
from appliance.evidence import DecisionRecord
from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.export import CSV_FIELDS, csv_lines, json_line
from appliance.evidence.index import columns_of
from appliance.evidence.reading import reading
from appliance.evidence.record import encode
from appliance.evidence.report import Subject, report_lines
from appliance.evidence.report.decision import decision_section
from appliance.evidence.search import Filter, Found, find
from appliance.model.observation import CheckError, Connection, Hop, Outcome
from tests.unit.evidence.samples import decision, fleet
from tests.unit.evidence.stores import make

HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["</td><script>alert(1)</script>", "\x1b]0;owned\x07\x1b[2J", "=cmd|' /C calc'!A0", "\u202egnp.exe", '" onload="x']
)
PLACES = {site.code: site.place for site in fleet().remotes}
ELEMENTS = {
    "section",
    "h2",
    "h3",
    "p",
    "span",
    "b",
    "ul",
    "li",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "div",
    "br",
}
PICTURE = {"svg", "title", "line", "rect", "text"}


def hostile_decision(text: str) -> DecisionRecord:
    record = decision(1, name="www.example.com")
    hop = Hop(text, (Connection("198.18.0.1", 80, True, 5, text, text),), 302, text, 5, None, text, 5)
    error = CheckError(text, text, text)
    seen = msgspec.structs.replace(
        record.remotes[0].observation,
        outcome=Outcome.MISMATCH,
        corroborates=False,
        seen=(text,),
        hops=(hop,),
        errors=(error,),
    )
    attempt = msgspec.structs.replace(record.remotes[0], observation=seen, rejected=text, withheld=text)
    request = msgspec.structs.replace(record.request, body=text, trace_id=text, caller=text)
    return msgspec.structs.replace(record, remotes=(attempt, *record.remotes[1:]), request=request)


def found(record: DecisionRecord) -> Found:
    columns = columns_of(record)
    return Found(
        seq=1,
        time=columns["time"],
        kind=columns["kind"],
        trace_id=columns["trace_id"],
        identifier=columns["identifier"],
        method=columns["method"],
        is_valid=columns["is_valid"],
        quorum=columns["quorum"],
        perspectives=columns["perspectives"],
        hash=bytes(32),
        record=encode(record),
    )


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@given(HOSTILE)
def test_a_report_has_no_element_but_its_own(text: str) -> None:
    record = hostile_decision(text)
    page = decision_section(found(record), record, PLACES)
    parser = Elements()
    parser.feed(page)
    assert parser.seen <= ELEMENTS | PICTURE
    assert not {name for name in parser.attributes if name.startswith(("on", "href", "src"))}
    assert page.replace("\n", "").isprintable()


@given(HOSTILE)
def test_a_sheet_has_no_formula_and_a_line_for_each(text: str) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines([found(hostile_decision(text))])))))
    assert len(rows) == 1
    assert list(rows[0]) == list(CSV_FIELDS)
    assert not [value for value in rows[0].values() if value[:1] in {"=", "+", "-", "@"} or not value.isprintable()]


@given(HOSTILE)
def test_a_terminal_gets_no_control_character(text: str) -> None:
    out = io.StringIO()
    record = hostile_decision(text)
    print_record(Console(file=out, width=140, markup=False, highlight=False), found(record), record)
    assert out.getvalue().replace("\n", "").isprintable()


@pytest.mark.parametrize("has_primary", [True, False])
def test_a_report_shows_who_saw_what_and_why(has_primary: bool) -> None:
    record = decision(1, failing=frozenset({"ams", "nyc", "gru"}))
    if not has_primary:
        record = msgspec.structs.replace(record, primary=None)
    page = decision_section(found(record), record, PLACES)
    assert "3 of 6 remote perspectives corroborate, 4 are needed" in page
    assert "São Paulo, BR" in page
    assert page.count("<rect") == 6 + has_primary


@contextmanager
def little_memory(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


def read_in_every_way(store: Path) -> None:
    subject = Subject("all", "2026-12-20T12:00:00.000000Z", "")
    exhaust = deque[object](maxlen=0)
    assert verify_store(store, Scope(deep=True, replay=True)).ok
    with reading(store) as connection:
        everything = Filter()
        exhaust.extend(find(connection, everything, newest_first=True))
        exhaust.extend(json_line(each) for each in find(connection, everything, whole=True))
        exhaust.extend(csv_lines(find(connection, everything, whole=True)))
        exhaust.extend(report_lines(connection, Filter(domain="example.com"), subject))


def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    store = make(tmp_path, 800)
    assert store.stat().st_size > 7_000_000
    with little_memory(6_000_000):
        read_in_every_way(store)
