"""Finding records: filters over the index columns, and rows one page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from appliance.errors import UNDECODABLE, EvidenceUnavailable
from appliance.evidence.index import subtree
from appliance.evidence.reading import PAGE_ROWS
from appliance.evidence.record import DecisionRecord, EventType, decode
from appliance.evidence.schema import RECORDS


@dataclass(frozen=True, slots=True)
class Filter:
    """All conditions that are not None must hold. Times are RFC 3339 UTC as `utc_text` writes them.

    `domain`: this name (lower-case A-labels) and every name under it. `identifier`: this name or address alone.
    `since` is included, `until` is not. `kind`: `decision`, `event` (any but a decision), or the type of an event.
    `perspective`: took part; with `outcome`, and had this outcome. `caller`: asked, for a decision or for the check of one
    perspective. `after`: numbers above this one; `upto`: up to this one.
    """

    seq: int | None = None
    domain: str | None = None
    identifier: str | None = None
    since: str | None = None
    until: str | None = None
    kind: str | None = None
    method: str | None = None
    is_valid: bool | None = None
    trace_id: str | None = None
    perspective: str | None = None
    outcome: str | None = None
    caller: str | None = None
    after: int | None = None
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One row: what is indexed, and the record's bytes where they were asked for."""

    seq: int
    time: str
    kind: str
    trace_id: str | None
    identifier: str | None
    method: str | None
    is_valid: bool | None
    quorum: str | None
    perspectives: str | None
    hash: bytes
    record: bytes = b""

    def outcomes(self) -> list[tuple[str, str]]:
        """The perspectives with their outcomes, the primary first."""
        pairs = (item.partition("=") for item in (self.perspectives or "").split())
        return [(code, outcome) for code, _, outcome in pairs]


_INDEX = tuple(RECORDS.c[name] for name in Found.__slots__ if name != "record")


def find(
    connection: Connection, wanted: Filter, *, newest_first: bool = False, limit: int | None = None, whole: bool = False
) -> Iterator[Found]:
    """The rows that `wanted` asks for, by number. `whole`: with the records' bytes.

    Raises `EvidenceUnavailable` where it must be known who asked, and the record cannot be parsed.
    """
    query = select(*_INDEX, RECORDS.c.record) if whole or wanted.caller is not None else select(*_INDEX)
    query = query.where(*_conditions(wanted)).order_by(RECORDS.c.seq.desc() if newest_first else RECORDS.c.seq)
    if wanted.caller is None:
        query = query.limit(limit)
    rows = connection.execution_options(yield_per=PAGE_ROWS).execute(query)
    found = (Found(**row._mapping) for row in rows)
    if wanted.caller is None:
        yield from found
    else:
        own = islice((each for each in found if _caller_of(each) == wanted.caller), limit)
        yield from own if whole else (replace(each, record=b"") for each in own)


def _conditions(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    columns = RECORDS.c
    if wanted.domain is not None:
        first, after = subtree(wanted.domain)
        yield and_(columns.reversed_name >= first, columns.reversed_name < after)
    if wanted.since is not None:
        yield columns.time >= wanted.since
    if wanted.until is not None:
        yield columns.time < wanted.until
    if wanted.after is not None:
        yield columns.seq > wanted.after
    if wanted.upto is not None:
        yield columns.seq <= wanted.upto
    if wanted.caller is not None:
        yield _names_caller(wanted.caller)
    if wanted.kind == "event":
        yield columns.kind != "decision"
    if wanted.perspective is not None:
        # Codes consist of a-z, 0-9 and "-", outcomes of letters (appliance.config, appliance.model): nothing to escape.
        yield columns.perspectives.contains(
            f" {wanted.perspective}={wanted.outcome or ''}{' ' if wanted.outcome else ''}"
        )
    equal: dict[str, Any] = {
        "seq": wanted.seq,
        "identifier": wanted.identifier,
        "kind": None if wanted.kind == "event" else wanted.kind,
        "method": wanted.method,
        "is_valid": wanted.is_valid,
        "trace_id": wanted.trace_id,
    }
    yield from (columns[name] == value for name, value in equal.items() if value is not None)


def _names_caller(caller: str) -> ColumnElement[bool]:
    """Rows in which `caller` may be who asked, cheaply: in canonical JSON (RFC 8785) a member has one spelling. Who asked
    is told by `_caller_of` alone, since any other array or member, what a target sent too, can have the same bytes."""
    name = msgspec.json.encode(caller)
    kind, record = RECORDS.c.kind, RECORDS.c.record
    decided = and_(kind == "decision", func.instr(record, b'"caller":' + name) > 0)
    checked = and_(kind == EventType.PERSPECTIVE_CHECK.value, func.instr(record, b'["caller",' + name + b"]") > 0)
    return or_(decided, checked)


def _caller_of(found: Found) -> str | None:
    """Who asked for the decision or for the check of one perspective; None for anything else."""
    try:
        record = decode(found.record)
    except UNDECODABLE as error:
        raise EvidenceUnavailable(f"record {found.seq}: cannot be parsed: {error}") from error
    if isinstance(record, DecisionRecord):
        return record.request.caller
    if record.type is not EventType.PERSPECTIVE_CHECK:
        return None
    callers = [value for name, value in record.facts if name == "caller"]
    return callers[0] if len(callers) == 1 else None
