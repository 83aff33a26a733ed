"""Moving records that need no longer be kept at hand to archived segments, each a chain of its own that can be verified."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import UNDECODABLE, ApplianceError, EvidenceUnavailable
from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.chain import Link
from appliance.evidence.checkpoint import CheckpointKey, encode_checkpoint
from appliance.evidence.files import give_to_owner_of_directory, make_durable
from appliance.evidence.ledger import Segment
from appliance.evidence.reading import PAGE_ROWS, base, cause, link_at, reading
from appliance.evidence.record import Actor, EventRecord, EventType, PerspectiveSetRef, utc_text
from appliance.evidence.schema import CHECKPOINTS, FORMAT, METADATA, PROPERTIES, RECORDS, SEGMENTS
from appliance.evidence.writer import EvidenceWriter

# BR 5.4.3: two years after the certificate expires. A determination may be reused for 398 days (3.2.2.9) before a
# certificate of 200 days (6.3.2) is issued on it.
RETENTION = timedelta(days=398 + 200 + 2 * 365 + 1)
_DELETED_AT_ONCE = 200
# What a segment is called until it is verified; SQLite adds to it for its journal.
_PART = ".part"
# The checkpoint of the record before the first one witnesses where a segment begins.
_COPY = (
    "INSERT INTO main.records SELECT * FROM source.records WHERE seq > :first AND seq <= :last",
    "INSERT INTO main.checkpoints SELECT * FROM source.checkpoints WHERE seq >= :first AND seq < :last",
)


class _Named(msgspec.Struct, frozen=True):
    """Of a decision no more than the perspective set that it names."""

    perspective_set: PerspectiveSetRef


_NAMED = msgspec.json.Decoder(_Named)


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
    there is none such. The writer goes on between the steps. What an earlier call left unfinished is finished first; one
    that is under way is waited for.

    Raises `TooYoung`, `EvidenceUnavailable`; nothing is deleted but what a verified segment on disk holds.
    """
    if before > latest_cut(now):
        raise TooYoung(
            f"records from {latest_cut(now):%Y-%m-%d} on must be kept (BR 5.4.3, with 398 and 200 days before)"
        )
    async with writer.pruning:
        await asyncio.to_thread(_verify_undeleted, store)
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


def _verify_undeleted(store: Path) -> None:
    """A call that was cut short leaves archived records in the store. Raises `EvidenceUnavailable` unless each of them is
    in a segment on disk that verifies: until they are deleted, a segment that was lost is lost for good."""
    with reading(store) as connection:
        first = connection.scalar(select(func.min(RECORDS.c.seq))) or 0
        left = select(SEGMENTS).where(SEGMENTS.c.last_seq >= first).order_by(SEGMENTS.c.last_seq)
        segments = [Segment(**row._mapping) for row in connection.execute(left)] if first else []
    for segment in segments:
        if not _is_whole(Path(segment.file), segment.first_seq, Link(segment.last_seq, segment.hash)):
            raise EvidenceUnavailable(
                f"{segment.file}: is not there, or does not verify; record {first} and those after it stay in the store"
            )


def last_to_prune(connection: Connection, before: str) -> int:
    """The number of the last record that may go: all up to it are older than `before`, and no decision after it names a
    perspective set that would go. One that is archived already cannot be kept any more.

    The newest perspective set stays: the next decision names it. Raises `EvidenceUnavailable` for a damaged decision.
    """
    start = base(connection).seq
    young = connection.scalar(select(func.min(RECORDS.c.seq)).where(RECORDS.c.time >= before, RECORDS.c.seq > start))
    newest = connection.scalar(select(func.max(RECORDS.c.seq))) or start
    last = newest if young is None else young - 1
    newest_set = _newest_set(connection)
    if newest_set is not None:
        last = min(last, newest_set - 1)
    for seq, named in _sets_named(connection, start):
        if seq <= last:
            break
        # Decisions between this set and where the cut was before are kept from here on, and looked at in their turn.
        if start < named <= last:
            last = named - 1
    return max(last, start)


def _newest_set(connection: Connection) -> int | None:
    sets = select(RECORDS.c.seq).where(RECORDS.c.kind == EventType.PERSPECTIVE_SET.value)
    return connection.scalar(sets.order_by(RECORDS.c.seq.desc()).limit(1))


def _sets_named(connection: Connection, after: int) -> Iterator[tuple[int, int]]:
    """The number of each decision after number `after`, and of the perspective set that it names, the newest first."""
    decisions = select(RECORDS.c.seq, RECORDS.c.record).where(RECORDS.c.kind == "decision", RECORDS.c.seq > after)
    newest_first = decisions.order_by(RECORDS.c.seq.desc())
    with connection.execution_options(yield_per=PAGE_ROWS).execute(newest_first) as rows:
        for seq, record in rows:
            try:
                yield seq, _NAMED.decode(record).perspective_set.seq
            except UNDECODABLE as error:
                raise EvidenceUnavailable(f"record {seq}: cannot be parsed: {error}; nothing is archived") from error


def _archive(store: Path, archive: Path, key: CheckpointKey, before: str, now: str) -> Segment | None:
    with reading(store) as connection:
        start = base(connection)
        last = link_at(connection, last_to_prune(connection, before))
    if last is None or last.seq <= start.seq:
        return None
    path = archive.absolute() / f"evidence-{start.seq + 1:012}-{last.seq:012}.sqlite"
    keys = frozenset({key.public})
    try:
        with _alone_in(archive):
            if not _is_whole(path, start.seq + 1, last, keys):
                part = _verified_part(store, path, start, last, key, now)
                _set_aside(path)
                part.rename(path)
            make_durable(path)
    except OSError as error:
        raise EvidenceUnavailable(f"{path}: {error.strerror}") from error
    return Segment(start.seq + 1, last.seq, last.hash, now, str(path))


@contextmanager
def _alone_in(archive: Path) -> Iterator[None]:
    """Holds the lock of the directory `archive`, made where it is not there: a call that was given up leaves its thread
    running. Raises `EvidenceUnavailable` where another has it, and `OSError`."""
    if not archive.is_dir():
        archive.mkdir(mode=0o750)
        give_to_owner_of_directory(archive)
    fd = os.open(archive, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EvidenceUnavailable(f"{archive}: an earlier call is still archiving; try again later") from error
        yield
    finally:
        os.close(fd)


def _is_whole(path: Path, first_seq: int, last: Link, keys: frozenset[str] = frozenset()) -> bool:
    """Whether the file `path` is a segment that verifies, of the records `first_seq` to `last`."""
    try:
        report = verify_store(path, Scope(keys=keys))
    except (EvidenceUnavailable, ValueError):
        return False
    return report.ok and report.archived_through == first_seq - 1 and report.head == last


def _verified_part(store: Path, path: Path, start: Link, last: Link, key: CheckpointKey, now: str) -> Path:
    """The records after `start` up to `last` in a new file that verifies, beside `path`; what calls that did not come to
    their end left there is removed: the store still has these records. Raises `EvidenceUnavailable`, `OSError`."""
    part = path.with_name(f"{path.name}{_PART}")
    _remove_parts(path.parent)
    try:
        _copy(store, part, start, last, encode_checkpoint(key.sign(last, now)))
        if not _is_whole(part, start.seq + 1, last, frozenset({key.public})):
            raise EvidenceUnavailable(f"{path}: the archived segment does not verify; nothing was deleted")
    except SQLAlchemyError as error:
        _remove_parts(path.parent)
        raise EvidenceUnavailable(f"{path}: {cause(error)}") from error
    except BaseException:
        _remove_parts(path.parent)
        raise
    return part


def _remove_parts(archive: Path) -> None:
    for part in archive.glob(f"evidence-*.sqlite{_PART}*"):
        part.unlink()


def _set_aside(path: Path) -> None:
    """Something else than the segment that belongs there may be all that is left of another chain: it gets a name with
    the time."""
    if path.exists():
        path.rename(path.with_name(f"{path.name}.aside-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"))


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
