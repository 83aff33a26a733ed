"""Moving records that need no longer be kept at hand to archived segments, each a chain of its own that can be verified."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import ApplianceError, EvidenceUnavailable
from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.chain import Link
from appliance.evidence.checkpoint import CheckpointKey, encode_checkpoint
from appliance.evidence.files import give_to_owner_of_directory
from appliance.evidence.ledger import Segment
from appliance.evidence.reading import base, cause, link_at, reading
from appliance.evidence.record import Actor, DecisionRecord, EventRecord, EventType, decode, utc_text
from appliance.evidence.schema import CHECKPOINTS, FORMAT, METADATA, PROPERTIES, RECORDS
from appliance.evidence.writer import EvidenceWriter

# BR 5.4.3: two years after the certificate expires. A determination may be reused for 398 days (3.2.2.9) before a
# certificate of 200 days (6.3.2) is issued on it.
RETENTION = timedelta(days=398 + 200 + 2 * 365 + 1)
_DELETED_AT_ONCE = 200
# The checkpoint of the record before the first one witnesses where a segment begins.
_COPY = (
    "INSERT INTO main.records SELECT * FROM source.records WHERE seq > :first AND seq <= :last",
    "INSERT INTO main.checkpoints SELECT * FROM source.checkpoints WHERE seq >= :first AND seq < :last",
)


class TooYoung(ApplianceError):
    """Records were to be pruned that must still be kept."""


def latest_cut(now: datetime) -> datetime:
    """Records from before this moment may be pruned."""
    return now - RETENTION


def archive_of(store: Path) -> Path:
    """The directory for archived segments of `store`."""
    return store.with_name("archive")


def segment_object(segment: Segment | None) -> dict[str, Any]:
    """What `prune` did, as JSON: `{"file": null}` where there was nothing to do."""
    if segment is None:
        return {"file": None}
    return msgspec.structs.asdict(segment) | {"hash": segment.hash.hex()}


async def prune(
    writer: EvidenceWriter,
    store: Path,
    archive: Path,
    key: CheckpointKey,
    actor: Actor,
    *,
    before: datetime,
    now: datetime,
) -> Segment | None:
    """Archives the oldest records of `store`, those before `before`, in a new file in the directory `archive`; None where
    there is none such. The writer goes on between the steps. What an earlier call left unfinished is finished first.

    Raises `TooYoung`, `EvidenceUnavailable`; nothing is deleted before the segment is on disk and verified.
    """
    if before > latest_cut(now):
        raise TooYoung(
            f"records from {latest_cut(now):%Y-%m-%d} on must be kept (BR 5.4.3, with 398 and 200 days before)"
        )
    await _delete(writer)
    segment = await asyncio.to_thread(_archive, store, archive, key, utc_text(before), utc_text(now))
    if segment is None:
        return None
    facts = (
        ("first_seq", str(segment.first_seq)),
        ("last_seq", str(segment.last_seq)),
        ("hash", segment.hash.hex()),
        ("file", segment.file),
    )
    await writer.submit(EventRecord(utc_text(now), EventType.PRUNE, actor, subject=segment.file, facts=facts))
    boundary = key.sign(Link(segment.last_seq, segment.hash), segment.time)
    await writer.run(lambda ledger: ledger.add_segment(segment, boundary))
    await _delete(writer)
    return segment


async def _delete(writer: EvidenceWriter) -> None:
    while await writer.run(lambda ledger: ledger.delete_archived(_DELETED_AT_ONCE)):
        pass


def last_to_prune(connection: Connection, before: str) -> int:
    """The number of the last record that may go: all up to it are older than `before`, and no decision after it names a
    perspective set that would go."""
    start = base(connection).seq
    young = connection.scalar(select(func.min(RECORDS.c.seq)).where(RECORDS.c.time >= before, RECORDS.c.seq > start))
    newest = connection.scalar(select(func.max(RECORDS.c.seq))) or start
    last = newest if young is None else young - 1
    kept = (
        select(RECORDS.c.record)
        .where(RECORDS.c.kind == "decision", RECORDS.c.seq > last)
        .order_by(RECORDS.c.seq)
        .limit(1)
    )
    first_kept = connection.scalar(kept)
    if first_kept is not None:
        record = decode(first_kept)
        if isinstance(record, DecisionRecord):
            last = min(last, record.perspective_set.seq - 1)
    return max(last, start)


def _archive(store: Path, archive: Path, key: CheckpointKey, before: str, now: str) -> Segment | None:
    with reading(store) as connection:
        start = base(connection)
        last = link_at(connection, last_to_prune(connection, before))
    if last is None or last.seq <= start.seq:
        return None
    try:
        if not archive.is_dir():
            archive.mkdir(mode=0o750)
            give_to_owner_of_directory(archive)
    except OSError as error:
        raise EvidenceUnavailable(f"{archive}: {error.strerror}") from error
    path = archive / f"evidence-{start.seq + 1:012}-{last.seq:012}.sqlite"
    path.unlink(missing_ok=True)  # of a call that did not come to its end: the store still has these records
    try:
        _copy(store, path, start, last, encode_checkpoint(key.sign(last, now)))
    except SQLAlchemyError as error:
        raise EvidenceUnavailable(f"{path}: {cause(error)}") from error
    report = verify_store(path, Scope(keys=frozenset({key.public})))
    if not report.ok or report.head != last:
        raise EvidenceUnavailable(f"{path}: the archived segment does not verify; nothing was deleted")
    return Segment(start.seq + 1, last.seq, last.hash, now, str(path))


def _copy(store: Path, path: Path, start: Link, last: Link, checkpoint: bytes) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        with engine.connect() as connection:
            connection.execute(text("ATTACH DATABASE :store AS source"), {"store": str(store)})
            METADATA.create_all(connection)
            bounds = {"first": start.seq, "last": last.seq}
            for statement in _COPY:
                connection.execute(text(statement), bounds)
            connection.execute(insert(CHECKPOINTS).values(seq=last.seq, checkpoint=checkpoint))
            properties = {"format": FORMAT, "base_seq": str(start.seq), "base_hash": start.hash.hex()}
            connection.execute(
                insert(PROPERTIES), [{"name": name, "value": value} for name, value in properties.items()]
            )
            connection.commit()
    finally:
        engine.dispose()
    path.chmod(0o440)
    give_to_owner_of_directory(path)
