"""What a record's bytes say against what is indexed of them, and against the rules that decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from appliance.errors import UNDECODABLE
from appliance.evidence.index import Columns, columns_of
from appliance.evidence.perspectives import fleet_in
from appliance.evidence.record import DecisionRecord, EventRecord, EventType, PerspectiveSetRef, decode
from appliance.evidence.replay import accepted_date_problems, disagreements
from appliance.evidence.schema import RECORDS
from appliance.policy.fleet import Fleet

# A number of 16 digits or more outside a text may be 2**53 or more, and then has no exact canonical form.
_LONG_NUMBER = re.compile(rb"[:,\[]-?[0-9]{16}")


def _no_float(text: str) -> float:
    raise ValueError(f"floating-point number {text[:40]}")


_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=_no_float)
_CANONICAL = msgspec.json.Encoder(order="sorted")


def deep_problems(connection: Connection, *, replay: bool) -> Callable[[Row[Any]], Iterator[str]]:
    """A function from a whole row of `RECORDS` to what is wrong with it."""
    fleets: dict[PerspectiveSetRef, Fleet | None] = {}

    def problems(row: Row[Any]) -> Iterator[str]:
        try:
            yield from _not_canonical(row.record)
            record = decode(row.record)
        except (*UNDECODABLE, ValueError) as error:
            yield f"cannot be parsed: {error}"
            return
        yield from _not_indexed(row, columns_of(record))
        if isinstance(record, EventRecord) and record.type is EventType.CLOCK_ACCEPTED:
            yield from accepted_date_problems(record)
        if replay and isinstance(record, DecisionRecord):
            ref = record.perspective_set
            if ref not in fleets:
                fleets[ref] = _fleet(connection, ref)
            fleet = fleets[ref]
            if fleet is None:
                yield f"names record {ref.seq} as its perspective set, which is missing or another"
            else:
                yield from (f"replay: {line}" for line in disagreements(record, fleet))

    return problems


def _not_canonical(record: bytes) -> Iterable[str]:
    value = _ANYTHING.decode(record)
    if _CANONICAL.encode(value) != record:
        yield "is not in canonical form (RFC 8785)"
    if _LONG_NUMBER.search(record) and _has_big_number(value):
        yield "holds an integer of 2**53 or more"


def _has_big_number(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_big_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_big_number, value))
    return isinstance(value, int) and abs(value) >= 2**53


def _not_indexed(row: Row[Any], columns: Columns) -> Iterator[str]:
    for name, expected in columns.items():
        found = getattr(row, name)
        if found != expected:
            yield f"is indexed with {name} {found!r}, but says {expected!r}"


def _fleet(connection: Connection, ref: PerspectiveSetRef) -> Fleet | None:
    found = connection.execute(select(RECORDS.c.record, RECORDS.c.hash).where(RECORDS.c.seq == ref.seq)).first()
    if found is None or found.hash.hex() != ref.hash:
        return None
    record = decode(found.record)
    if not isinstance(record, EventRecord) or record.perspective_set is None:
        return None
    return fleet_in(record.perspective_set)
