"""The whole document, written piece by piece: a report of any length needs the memory of one record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from appliance.evidence.record import DecisionRecord, EventRecord, PerspectiveSetRef, decode
from appliance.evidence.report.decision import Places, decision_section
from appliance.evidence.report.html import STYLE, Html, element, join, safe
from appliance.evidence.schema import RECORDS
from appliance.evidence.search import Filter, Found, find

# No script, no request: a report may quote hostile servers, and is opened on an auditor's desk.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the report is about, and when it was made (RFC 3339 UTC). `verified`: what is known of the store, in words."""

    title: str
    made_at: str
    verified: str


def report_lines(connection: Connection, wanted: Filter, subject: Subject) -> Iterator[str]:
    """The HTML document over the records that `wanted` asks for, in order."""
    title = safe(subject.title)
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{safe(_POLICY)}">'
    yield f"<title>{title}</title><style>{STYLE}</style></head><body>"
    yield element("h1", title)
    yield element("p", safe(f"Made at {subject.made_at}. {subject.verified}"), "quiet")
    yield "<table><thead><tr><th>record</th><th>time (UTC)</th><th>what</th><th>name</th><th>result</th></tr></thead><tbody>"
    count = 0
    for found in find(connection, wanted):
        count += 1
        yield _summary(found)
    yield "</tbody></table>"
    if count == 0:
        yield element("p", safe("There are no records of this."))
    places: dict[PerspectiveSetRef, Places] = {}
    for found in find(connection, wanted, whole=True):
        record = decode(found.record)
        if isinstance(record, EventRecord):
            yield _event_section(found, record)
            continue
        if record.perspective_set not in places:
            places[record.perspective_set] = _places(connection, record)
        yield decision_section(found, record, places[record.perspective_set])
    yield "</body></html>\n"


def _summary(found: Found) -> Html:
    if found.is_valid is None:
        result = Html("")
    else:
        word = f"{'corroborated' if found.is_valid else 'refused'} {found.quorum}"
        result = element("b", safe(word), "good" if found.is_valid else "bad")
    cells = (
        safe(found.seq),
        safe(found.time),
        safe(found.method or found.kind),
        element("span", safe(found.identifier or ""), "long"),
        result,
    )
    return element("tr", (element("td", cell) for cell in cells))


def _event_section(found: Found, record: EventRecord) -> Html:
    who = f"uid {record.actor.uid} {record.actor.login}".rstrip()
    facts = [f"{name}: {value}" for name, value in record.facts]
    if record.observation is not None:
        outcome = record.observation.outcome.value
        facts.append(f"{record.observation.perspective} saw: {outcome} after {record.observation.elapsed_us} µs")
    lines = [f"Record {found.seq}, {record.time}, by {who}. {record.message}", *facts, f"hash {found.hash.hex()}"]
    heading = element("h2", safe(f"{record.type.value} {record.subject}".rstrip()))
    return element("section", (heading, element("p", join((safe(line) for line in lines), "<br>"), "small")))


def _places(connection: Connection, record: DecisionRecord) -> Places:
    """Where the perspectives were, by the perspective set that the record names; empty where that is archived."""
    found = connection.scalar(select(RECORDS.c.record).where(RECORDS.c.seq == record.perspective_set.seq))
    event = None if found is None else decode(found)
    if not isinstance(event, EventRecord) or event.perspective_set is None:
        return {}
    known = event.perspective_set
    return {site.code: site.place for site in (known.primary, *known.remotes)}
