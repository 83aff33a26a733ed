"""Records as JSON Lines and CSV, one at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from appliance.evidence.record import DecisionRecord, EventRecord, decode
from appliance.evidence.search import Found

CSV_FIELDS = (
    "seq",
    "hash",
    "time",
    "kind",
    "trace_id",
    "identifier",
    "wildcard",
    "method",
    "br_section",
    "br_version",
    "is_valid",
    "quorum",
    "required",
    "rirs",
    "primary",
    "remotes",
    "reasons",
    "policy_date",
    "clock_synchronised",
    "caller",
    "actor",
    "subject",
    "message",
)


def json_line(found: Found) -> bytes:
    """`{"hash", "record", "seq"}`; `record` is the bytes as stored, so that the line can be hashed by whoever has it."""
    return b'{"hash":"%s","record":%s,"seq":%d}\n' % (found.hash.hex().encode(), found.record, found.seq)


def csv_lines(rows: Iterable[Found]) -> Iterator[str]:
    """A heading, then one line for each record (RFC 4180)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS)
    writer.writeheader()
    for found in rows:
        writer.writerow({name: _cell(value) for name, value in _fields(found).items()})
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _fields(found: Found) -> dict[str, object]:
    record = decode(found.record)
    common = {"seq": found.seq, "hash": found.hash.hex(), "time": found.time, "kind": found.kind}
    own = _of_decision(found, record) if isinstance(record, DecisionRecord) else _of_event(record)
    return common | own


def _of_decision(found: Found, record: DecisionRecord) -> dict[str, object]:
    primary = record.primary.observation.outcome.value if record.primary else "caller"
    outcomes = found.outcomes()[1:] if record.primary else found.outcomes()
    return {
        "trace_id": record.request.trace_id,
        "identifier": record.identifier.value,
        "wildcard": record.identifier.wildcard,
        "method": record.method.value,
        "br_section": record.br_section,
        "br_version": record.br_version,
        "is_valid": record.verdict.is_valid,
        # A spreadsheet would take 5/6 for the fifth of June.
        "quorum": f"{record.verdict.corroborating} of {record.verdict.attempted}",
        "required": record.verdict.required,
        "rirs": "; ".join(rir.value for rir in record.verdict.rirs),
        "primary": primary,
        "remotes": "; ".join(f"{code} {outcome}" for code, outcome in outcomes),
        "reasons": "; ".join(record.verdict.reasons),
        "policy_date": record.verdict.policy_date,
        "clock_synchronised": record.clock.synchronised,
        "caller": record.request.caller,
    }


def _of_event(record: EventRecord) -> dict[str, object]:
    return {
        "trace_id": record.trace_id or "",
        "identifier": record.identifier or "",
        "actor": f"{record.actor.uid} {record.actor.login}".rstrip(),
        "subject": record.subject,
        "message": record.message,
    }


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula, on one line, control characters as escapes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
