"""The policy date after an operator said that records from the future are wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest

from appliance.coordinator.records import clock_accepted_event
from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.record import Actor, EventRecord, utc_text
from appliance.evidence.writer import EvidenceWriter
from appliance.linux.clock import ClockState
from tests.unit.evidence.samples import event

OPERATOR = Actor(1000, "operator")
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def at(moment: datetime) -> EventRecord:
    return msgspec.structs.replace(event(1), time=utc_text(moment))


def accepted(
    *, synchronised: bool = True, before: date = date(2036, 2, 29), built: date = date(2026, 11, 1)
) -> EventRecord:
    return clock_accepted_event(OPERATOR, before, built, ClockState(synchronised, 0, 0, 0), time=utc_text(NOON))


async def newest(path: Path, *records: EventRecord) -> datetime | None:
    """The newest time after `records`, and the same after the store was opened anew."""
    writer = EvidenceWriter.open(path)
    for record in records:
        await writer.submit(record)
    found = writer.newest_record_time()
    await writer.close()
    again = EvidenceWriter.open(path)
    assert again.newest_record_time() == found
    await again.close()
    return found


async def test_it_goes_on_from_the_accepted_date_and_outlives_restarts(tmp_path: Path) -> None:
    path = tmp_path / "evidence.sqlite"
    wrong = datetime(2036, 2, 29, tzinfo=UTC)
    assert await newest(path, at(NOON), at(wrong)) == wrong
    assert await newest(path, accepted()) == NOON
    later = NOON.replace(day=2)
    assert await newest(path, at(later), at(NOON)) == later
    assert await newest(path, at(wrong), at(NOON)) == wrong, "what comes after it counts as ever"
    assert verify_store(path, Scope(deep=True, replay=True)).problems == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (accepted(synchronised=False), "the clock was not synchronised"),
        (accepted(built=date(2026, 12, 2)), "before the software was made (2026-12-02)"),
        (accepted(before=date(2026, 12, 1)), "is not before the policy date of then"),
        (msgspec.structs.replace(accepted(), time=utc_text(NOON.replace(year=2025))), "is not that of the record"),
        (msgspec.structs.replace(accepted(), facts=()), "is not that of the record"),
    ],
)
async def test_an_acceptance_that_the_product_never_makes_is_seen_by_deep(
    tmp_path: Path, record: EventRecord, reason: str
) -> None:
    path = tmp_path / "evidence.sqlite"
    await newest(path, record)
    assert any(reason in problem.reason for problem in verify_store(path, Scope(deep=True)).problems)
