"""Old records move to segments that verify; young ones and what they refer to never do. Backups come back whole."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from appliance.errors import EvidenceUnavailable
from appliance.evidence import Actor, EvidenceWriter
from appliance.evidence.audit import Report, Scope, verify_store
from appliance.evidence.backup import back_up, restore
from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.ledger import Segment, StoreLocked
from appliance.evidence.reading import reading
from appliance.evidence.record import EventRecord, EventType, decode
from appliance.evidence.retention import RETENTION, TooYoung, latest_cut, prune
from appliance.evidence.schema import RECORDS, writing_engine
from tests.unit.evidence.samples import event
from tests.unit.evidence.stores import NAME, RECEIPTS, fill, now

FULL = Scope(deep=True, replay=True)
OPERATOR = Actor(1000, "operator")


def count(store: Path) -> int:
    with reading(store) as connection:
        return connection.scalar(select(func.count()).select_from(RECORDS)) or 0


def last_event(store: Path) -> EventRecord:
    with reading(store) as connection:
        record = decode(
            connection.execute(select(RECORDS.c.record).order_by(RECORDS.c.seq.desc()).limit(1)).scalar_one()
        )
    assert isinstance(record, EventRecord)
    return record


async def pruned(directory: Path, before: datetime, at: datetime) -> Segment | None:
    store = directory / NAME
    key = CheckpointKey.load_or_make(directory / KEY_NAME)
    writer = EvidenceWriter.open(store, Checkpointing(key))
    try:
        return await prune(writer, store, directory / "archive", key, OPERATOR, before=before, now=at)
    finally:
        await writer.close()


def verified(store: Path, key: CheckpointKey) -> Report:
    report = verify_store(store, Scope(deep=True, replay=True, keys=frozenset({key.public})))
    assert report.problems == []
    return report


async def three_runs(directory: Path) -> datetime:
    """Records 1-12 of a first run long ago, 13-24 of a second, 25-36 of today's; returns now."""
    today = now()
    for age in (RETENTION + timedelta(days=100), RETENTION + timedelta(days=50), timedelta(0)):
        await fill(directory, 10, first_at=today - age)
    return today


async def test_records_past_the_retention_move_to_a_segment(tmp_path: Path) -> None:
    today = await three_runs(tmp_path)
    key = CheckpointKey.load_or_make(tmp_path / KEY_NAME)
    # The second run's closing event bears a fixed time after the cut: it stays, and what comes after it.
    segment = await pruned(tmp_path, latest_cut(today), today)
    assert segment is not None
    archived = Path(segment.file)
    assert (segment.first_seq, segment.last_seq) == (1, verified(archived, key).head.seq)
    report = verified(tmp_path / NAME, key)
    assert report.archived_through == segment.last_seq
    assert report.records + segment.last_seq == report.head.seq == 37
    event_record = last_event(tmp_path / NAME)
    assert (event_record.type, event_record.actor) == (EventType.PRUNE, OPERATOR)
    assert ("last_seq", str(segment.last_seq)) in event_record.facts


async def test_segments_follow_one_another(tmp_path: Path) -> None:
    base = now() - RETENTION - timedelta(days=300)
    for days in (0, 100, 200):
        await fill(tmp_path, 5, first_at=base + timedelta(days=days))
    key = CheckpointKey.load_or_make(tmp_path / KEY_NAME)
    with writing_engine(tmp_path / NAME).begin() as connection:
        connection.execute(RECORDS.update().where(RECORDS.c.kind == "drain").values(time="2001-01-01T00:00:00.000000Z"))
    for days, first, last in ((50, 1, 7), (150, 8, 14)):
        segment = await pruned(tmp_path, base + timedelta(days=days), now())
        assert segment is not None
        assert (segment.first_seq, segment.last_seq) == (first, last)
        keys = frozenset({key.public})
        assert verify_store(Path(segment.file), Scope(keys=keys)).problems == []
        assert verify_store(tmp_path / NAME, Scope(keys=keys)).problems == []


async def test_the_perspective_set_of_a_kept_decision_stays(tmp_path: Path) -> None:
    today = now()
    await fill(tmp_path, 10, first_at=latest_cut(today) - timedelta(days=5), apart=timedelta(days=1))
    assert await pruned(tmp_path, latest_cut(today), today) is None
    assert count(tmp_path / NAME) == 12


async def test_young_records_are_never_pruned(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    today = now()
    with pytest.raises(TooYoung):
        await pruned(tmp_path, latest_cut(today) + timedelta(seconds=1), today)
    assert count(tmp_path / NAME) == 5


async def test_receipts_of_archived_records_are_held_against_the_segment(tmp_path: Path) -> None:
    today = await three_runs(tmp_path)
    segment = await pruned(tmp_path, latest_cut(today), today)
    assert segment is not None
    receipts = Scope(receipts=(tmp_path / RECEIPTS,))
    assert verify_store(tmp_path / NAME, receipts).problems == []
    with writing_engine(Path(segment.file)).begin() as connection:
        connection.execute(delete(RECORDS).where(RECORDS.c.seq == 4))
    assert 4 in {problem.seq for problem in verify_store(Path(segment.file), receipts).problems}


async def test_a_backup_is_made_beside_the_writer_and_comes_back(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    writer = EvidenceWriter.open(store)
    assert back_up(store, copy).head.seq == 32
    with pytest.raises(StoreLocked):
        restore(copy, store)
    later = await writer.submit(event(100))
    await writer.close()
    assert sorted(path.name for path in tmp_path.glob("backup*")) == [copy.name]  # noqa: ASYNC240
    head = restore(copy, store)
    assert head.seq == 33
    record = last_event(store)
    assert record.type is EventType.RESTORE
    assert dict(record.facts)["replaced_through"] == str(later.seq)
    assert dict(record.facts)["replaced_hash"] == later.hash
    assert verify_store(store, FULL).problems == []
    assert count(Path(dict(record.facts)["aside"])) == 33


def test_a_lost_store_is_restored(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    back_up(store, copy)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{store}{suffix}").unlink()
    assert restore(copy, store).seq == 33
    assert verify_store(store, FULL).problems == []


def test_a_damaged_backup_changes_nothing(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    back_up(store, copy)
    with writing_engine(copy).begin() as connection:
        connection.execute(delete(RECORDS).where(RECORDS.c.seq == 4))
    with pytest.raises(EvidenceUnavailable, match="record 4"):
        restore(copy, store)
    assert count(store) == 32


def test_a_backup_overwrites_nothing(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    copy.write_text("mine")
    with pytest.raises(EvidenceUnavailable):
        back_up(store, copy)
    assert copy.read_text() == "mine"
