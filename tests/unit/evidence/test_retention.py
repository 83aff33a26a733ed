"""Old records move to segments that verify; young ones and what they refer to never do. Backups come back whole."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, func, select

from appliance.errors import EvidenceUnavailable
from appliance.evidence import (
    Actor,
    EvidenceWriter,
    PerspectiveSetRef,
    Receipt,
    perspective_set_of,
    retention,
    utc_text,
)
from appliance.evidence.audit import Report, Scope, verify_store
from appliance.evidence.backup import back_up, restore
from appliance.evidence.chain import Link
from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.ledger import Ledger, Segment, StoreLocked
from appliance.evidence.reading import link_at, reading
from appliance.evidence.record import EventRecord, EventType, decode
from appliance.evidence.retention import RETENTION, TooYoung, latest_cut, prune
from appliance.evidence.schema import RECORDS, writing_engine
from tests.unit.evidence.samples import decision, event, fleet
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


@asynccontextmanager
async def writing(directory: Path) -> AsyncIterator[EvidenceWriter]:
    key = CheckpointKey.load_or_make(directory / KEY_NAME)
    writer = EvidenceWriter.open(directory / NAME, Checkpointing(key))
    try:
        yield writer
    finally:
        await writer.close()


async def pruned_by(writer: EvidenceWriter, directory: Path, before: datetime, at: datetime) -> Segment | None:
    key = CheckpointKey.load_or_make(directory / KEY_NAME)
    return await prune(writer, directory / NAME, directory / "archive", key, OPERATOR, before=before, now=at)


async def pruned(directory: Path, before: datetime, at: datetime) -> Segment | None:
    async with writing(directory) as writer:
        return await pruned_by(writer, directory, before, at)


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


def file_of(segment: Segment) -> Path:
    return Path(segment.file)


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


async def set_at(writer: EvidenceWriter, at: datetime) -> Receipt:
    sites = perspective_set_of(fleet())
    return await writer.submit(
        EventRecord(utc_text(at), EventType.PERSPECTIVE_SET, OPERATOR, subject="mpicd", perspective_set=sites)
    )


async def decided(writer: EvidenceWriter, at: datetime, named: Receipt) -> Receipt:
    return await writer.submit(decision(1, at=at, perspective_set=PerspectiveSetRef(named.seq, named.hash)))


async def test_every_perspective_set_that_a_kept_decision_names_stays(tmp_path: Path) -> None:
    """A decision that was in flight at a drain names the set before the newest, and so on back through the drains."""
    today = now()
    first = today - RETENTION - timedelta(days=10)
    days = [first + timedelta(days=day) for day in range(9)]
    async with writing(tmp_path) as writer:
        zeroth = await set_at(writer, days[0])
        await decided(writer, days[0], zeroth)
        one = await set_at(writer, days[1])
        await decided(writer, days[1], one)
        two = await set_at(writer, days[2])
        await decided(writer, days[2], one)
        three = await set_at(writer, days[3])
        await decided(writer, days[3], two)
        await decided(writer, days[3], three)
        await decided(writer, today, three)
        segment = await pruned_by(writer, tmp_path, latest_cut(today), today)
    assert segment is not None
    assert (segment.first_seq, segment.last_seq) == (1, one.seq - 1)
    assert verify_store(tmp_path / NAME, FULL).problems == []
    assert verify_store(Path(segment.file), FULL).problems == []


async def test_a_young_decision_may_name_an_older_set_than_the_first_one(tmp_path: Path) -> None:
    today = now()
    old = today - RETENTION - timedelta(days=10)
    async with writing(tmp_path) as writer:
        one = await set_at(writer, old)
        await decided(writer, old, one)
        two = await set_at(writer, old)
        await decided(writer, today, two)
        await decided(writer, today, one)
        assert await pruned_by(writer, tmp_path, latest_cut(today), today) is None
    assert verify_store(tmp_path / NAME, FULL).problems == []


async def test_the_perspective_set_of_the_next_decision_stays(tmp_path: Path) -> None:
    today = now()
    old = today - RETENTION - timedelta(days=10)
    async with writing(tmp_path) as writer:
        one = await set_at(writer, old)
        await decided(writer, old, one)
        two = await set_at(writer, old)
        await decided(writer, old, two)
        segment = await pruned_by(writer, tmp_path, latest_cut(today), today)
        assert segment is not None
        assert segment.last_seq == two.seq - 1
        await decided(writer, today, two)
    assert verify_store(tmp_path / NAME, FULL).problems == []


async def test_a_set_that_is_archived_already_holds_nothing_back(tmp_path: Path) -> None:
    today = now()
    old = today - RETENTION - timedelta(days=10)
    async with writing(tmp_path) as writer:
        one = await set_at(writer, old)
        two = await set_at(writer, old)
        assert await pruned_by(writer, tmp_path, latest_cut(today), today) is not None
        three = await set_at(writer, old)
        await decided(writer, today, three)
        await decided(writer, today, one)
        # The event of the first call is young: all that may go is what comes before it.
        segment = await pruned_by(writer, tmp_path, latest_cut(today), today)
    assert segment is not None
    assert (segment.first_seq, segment.last_seq) == (two.seq, two.seq)


async def test_a_damaged_decision_keeps_everything(tmp_path: Path) -> None:
    today = await three_runs(tmp_path)
    async with writing(tmp_path) as writer:
        with writing_engine(tmp_path / NAME).begin() as connection:
            connection.execute(RECORDS.update().where(RECORDS.c.seq == 20).values(record=b"{}"))
        with pytest.raises(EvidenceUnavailable, match="record 20: cannot be parsed"):
            await pruned_by(writer, tmp_path, latest_cut(today), today)
    assert count(tmp_path / NAME) == 36


async def test_two_calls_at_once_archive_once(tmp_path: Path) -> None:
    today = await three_runs(tmp_path)
    key = CheckpointKey.load_or_make(tmp_path / KEY_NAME)
    async with writing(tmp_path) as writer:
        calls = [pruned_by(writer, tmp_path, latest_cut(today), today) for _ in range(3)]
        segment, *others = await asyncio.gather(*calls)
    assert segment is not None
    assert others == [None, None]
    assert [each.name for each in (tmp_path / "archive").iterdir()] == [Path(segment.file).name]
    assert verified(Path(segment.file), key).head.seq == segment.last_seq
    report = verified(tmp_path / NAME, key)
    assert (report.archived_through, report.head.seq) == (segment.last_seq, 37)


async def test_a_segment_that_verifies_is_never_unlinked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = await three_runs(tmp_path)

    def fails(*_: object) -> None:
        raise EvidenceUnavailable("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "add_segment", fails)
        with pytest.raises(EvidenceUnavailable, match="disk full"):
            await pruned(tmp_path, latest_cut(today), today)
    [left] = (tmp_path / "archive").iterdir()
    with left.open("rb") as whole:
        segment = await pruned(tmp_path, latest_cut(today), today)
        assert segment is not None
        assert Path(segment.file) == left
        assert os.path.samestat(os.fstat(whole.fileno()), left.stat())


@pytest.mark.parametrize("changes", [{"first_seq": 2}, {"last_seq": 10}, {"hash": bytes(32)}, {"last_seq": 99}])
async def test_the_store_begins_only_after_a_segment_of_its_own(tmp_path: Path, changes: dict[str, object]) -> None:
    await three_runs(tmp_path)
    key = CheckpointKey.load_or_make(tmp_path / KEY_NAME)
    with reading(tmp_path / NAME) as connection:
        last = link_at(connection, 11)
    assert last is not None
    segment = msgspec.structs.replace(Segment(1, 11, last.hash, utc_text(now()), "a file"), **changes)
    boundary = key.sign(Link(segment.last_seq, segment.hash), segment.time)
    async with writing(tmp_path) as writer:
        with pytest.raises(EvidenceUnavailable, match="a file"):
            await writer.run(lambda ledger: ledger.add_segment(segment, boundary))
        assert await writer.run(lambda ledger: ledger.delete_archived(100)) == 0
    assert verified(tmp_path / NAME, key).records == 36


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None])
async def test_what_is_not_the_segment_is_kept_under_another_name(tmp_path: Path, content: bytes | None) -> None:
    """`content` None: a segment of the same name that verifies, of another chain."""
    today = await three_runs(tmp_path)
    (tmp_path / "other").mkdir()
    await three_runs(tmp_path / "other")
    other = await pruned(tmp_path / "other", latest_cut(today), today)
    assert other is not None
    kept = file_of(other).read_bytes() if content is None else content
    archive, name = tmp_path / "archive", file_of(other).name
    archive.mkdir()
    (archive / name).write_bytes(kept)
    (archive / f"{name}.part-journal").write_text("of a call that was killed")
    segment = await pruned(tmp_path, latest_cut(today), today)
    assert segment is not None
    assert file_of(segment).name == name
    key = CheckpointKey.load_or_make(tmp_path / KEY_NAME)
    assert verified(file_of(segment), key).head.seq == segment.last_seq
    verified(tmp_path / NAME, key)
    [aside] = (each for each in archive.iterdir() if each.name != name)
    assert aside.read_bytes() == kept


async def test_what_is_left_is_deleted_only_with_its_segment_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = await three_runs(tmp_path)
    monkeypatch.setattr(retention, "_delete", nothing)
    segment = await pruned(tmp_path, latest_cut(today), today)
    assert segment is not None
    monkeypatch.undo()
    elsewhere = tmp_path / "elsewhere"
    file_of(segment).rename(elsewhere)
    for damage in (b"", b"damaged"):
        if damage:
            file_of(segment).write_bytes(damage)
        with pytest.raises(EvidenceUnavailable, match=segment.file):
            await pruned(tmp_path, latest_cut(today), today)
        assert count(tmp_path / NAME) == 37
    elsewhere.rename(segment.file)
    assert await pruned(tmp_path, latest_cut(today), today) is None
    assert count(tmp_path / NAME) == 37 - segment.last_seq


async def nothing(_: EvidenceWriter) -> None:
    """Deletes nothing: the process was killed before."""


async def test_a_call_that_was_given_up_disturbs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = await three_runs(tmp_path)
    copy, begun, go_on = retention._copy, threading.Event(), threading.Event()

    def slow(*arguments: object) -> None:
        begun.set()
        go_on.wait(30)
        copy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(retention, "_copy", slow)
    async with writing(tmp_path) as writer:
        given_up = asyncio.create_task(pruned_by(writer, tmp_path, latest_cut(today), today))
        await asyncio.to_thread(begun.wait, 30)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        with pytest.raises(EvidenceUnavailable, match="still archiving"):
            await pruned_by(writer, tmp_path, latest_cut(today), today)
        go_on.set()
        while not list((tmp_path / "archive").glob("*.sqlite")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        segment = await archived_in_the_end(writer, tmp_path, today)
    verified(Path(segment.file), CheckpointKey.load_or_make(tmp_path / KEY_NAME))
    assert count(tmp_path / NAME) == 37 - segment.last_seq


async def archived_in_the_end(writer: EvidenceWriter, directory: Path, today: datetime) -> Segment:
    while True:
        try:
            segment = await pruned_by(writer, directory, latest_cut(today), today)
        except EvidenceUnavailable:
            await asyncio.sleep(0.01)
            continue
        assert segment is not None
        return segment


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
