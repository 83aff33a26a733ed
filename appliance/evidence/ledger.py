"""The one writer's view of the embedded store: appends batches of records, each batch one durable commit, in order."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import UNDECODABLE, EvidenceUnavailable
from appliance.evidence.chain import Break, Link, link, verify
from appliance.evidence.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from appliance.evidence.files import opened
from appliance.evidence.index import Columns
from appliance.evidence.reading import base, cause, entries, last_seq, link_at
from appliance.evidence.record import EventType, Receipt
from appliance.evidence.schema import (
    CHECKPOINTS,
    FORMAT,
    METADATA,
    PROPERTIES,
    RECORDS,
    SEGMENTS,
    reading_engine,
    writing_engine,
)

_TAIL = 1000
_INSERT = insert(RECORDS)


class StoreLocked(EvidenceUnavailable):
    """Another process writes to the store."""


class Segment(msgspec.Struct, frozen=True):
    """Records `first_seq` to `last_seq`, archived at `time` (UTC) in `file`; `hash` is that of the last."""

    first_seq: int
    last_seq: int
    hash: bytes
    time: str
    file: str


class Ledger:
    """Holds the store's lock for as long as it lives. Not safe for two threads at once.

    `head`: the end of the chain. `newest_time`: the latest time of any record from the last `clock-accepted` event on, RFC 3339
    UTC, or None: before that event the clock was wrong. `checkpointed_seq`: how far the newest checkpoint goes, 0 for none.
    Every method raises `EvidenceUnavailable` where the store cannot do what was asked; it may then be tried again.
    """

    head: Link
    newest_time: str | None
    checkpointed_seq: int

    def __init__(self, path: Path, lock: int | None = None) -> None:
        """`lock`: that of `locked`, where the caller holds it already; it is this ledger's from here on."""
        self._path = path
        self._lock = locked(path) if lock is None else lock
        self._connection: Connection | None = None
        self._keeper: Connection | None = None
        try:
            _made(path)
            self._connect()
        except EvidenceUnavailable:
            os.close(self._lock)
            raise

    def append(self, batch: Sequence[tuple[Columns, bytes]]) -> list[Receipt]:
        """One receipt for each record, when all are durable; none of them is when this raises, as far as one can know."""
        connection = self._connection or self._connect()
        head, rows, receipts = self.head, [], []
        for columns, record in batch:
            head = link(head, record)
            rows.append({"seq": head.seq, "hash": head.hash, "record": record, **columns})
            receipts.append(Receipt(head.seq, head.hash.hex()))
        try:
            connection.execute(_INSERT, rows)
            connection.commit()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        self.head = head
        for columns, _ in batch:
            accepted = columns["kind"] == EventType.CLOCK_ACCEPTED.value
            self.newest_time = columns["time"] if accepted else max(self.newest_time or "", columns["time"])
        return receipts

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keeps `checkpoint` beside the records."""
        connection = self._connection or self._connect()
        try:
            connection.execute(
                insert(CHECKPOINTS).values(seq=checkpoint.statement.seq, checkpoint=encode_checkpoint(checkpoint))
            )
            connection.commit()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        self.checkpointed_seq = checkpoint.statement.seq

    def add_segment(self, segment: Segment, boundary: Checkpoint) -> None:
        """From now on the chain begins after `segment`, as `boundary` witnesses; its records may be deleted.

        It must be of this chain, and begin where the store does.
        """
        connection = self._connection or self._connect()
        last = Link(segment.last_seq, segment.hash)
        try:
            if base(connection).seq + 1 != segment.first_seq or link_at(connection, last.seq) != last:
                raise EvidenceUnavailable(f"{segment.file}: is not the segment that the store would begin after")
            _replace_checkpoint(connection, boundary)
            connection.execute(insert(SEGMENTS).values(msgspec.structs.asdict(segment)))
            connection.commit()
        except SQLAlchemyError as error:
            raise self._failed(error) from error

    def delete_archived(self, limit: int) -> int:
        """Deletes at most `limit` records that are in a segment, oldest first; how many there were."""
        connection = self._connection or self._connect()
        archived = (
            select(RECORDS.c.seq).where(RECORDS.c.seq <= base(connection).seq).order_by(RECORDS.c.seq).limit(limit)
        )
        try:
            deleted = connection.execute(delete(RECORDS).where(RECORDS.c.seq.in_(archived))).rowcount
            connection.commit()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        return deleted

    def close(self) -> None:
        """Moves the write-ahead log into the database, and lets go of the lock."""
        try:
            if self._connection is not None:
                self._connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        except SQLAlchemyError:
            pass  # what is committed stays in the log, where the next writer finds it
        finally:
            self._disconnect()
            os.close(self._lock)

    def _connect(self) -> Connection:
        try:
            self._connection = connection = writing_engine(self._path).connect()
            METADATA.create_all(connection)
            self._check_format(connection)
            connection.commit()
            # A reader's connection that is closed last leaves the log's files in place (it cannot delete them), so that
            # operators without write permission on the directory can open the store when no writer runs.
            self._keeper = reading_engine(self._path).connect()
            self._keeper.execute(select(func.count()).select_from(PROPERTIES))
            self._keeper.rollback()
            self.head, self.newest_time = _tail(connection, self._path)
            self.checkpointed_seq = connection.scalar(select(func.max(CHECKPOINTS.c.seq))) or 0
            connection.rollback()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        except EvidenceUnavailable:
            self._disconnect()
            raise
        return connection

    def _check_format(self, connection: Connection) -> None:
        found = connection.scalar(select(PROPERTIES.c.value).where(PROPERTIES.c.name == "format"))
        if found is None:
            connection.execute(insert(PROPERTIES).values(name="format", value=FORMAT))
        elif found != FORMAT:
            raise EvidenceUnavailable(f"{self._path}: format {found}, this version writes {FORMAT}")

    def _failed(self, error: SQLAlchemyError) -> EvidenceUnavailable:
        """The fate of a commit that failed is unknown to us; the next one reads from the store how far the chain goes."""
        self._disconnect()
        return EvidenceUnavailable(f"{self._path}: {cause(error)}")

    def _disconnect(self) -> None:
        for connection in (self._connection, self._keeper):
            if connection is not None:
                connection.invalidate()
                connection.close()
        self._connection = self._keeper = None


def _replace_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    seq = checkpoint.statement.seq
    connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.seq == seq))
    connection.execute(insert(CHECKPOINTS).values(seq=seq, checkpoint=encode_checkpoint(checkpoint)))


def locked(path: Path) -> int:
    """A descriptor that holds the lock beside `path`; the kernel lets go of it when the process ends, however it ends.

    Raises `StoreLocked`, or `EvidenceUnavailable` for want of permission.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = opened(Path(f"{path}.lock"), 0o600)
    except OSError as error:
        raise EvidenceUnavailable(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreLocked(f"{path}: another process writes to it") from error
    return lock


def _made(path: Path) -> None:
    try:
        os.close(opened(path, 0o640))
    except OSError as error:
        raise EvidenceUnavailable(f"{path}: {error.strerror}") from error


def _tail(connection: Connection, path: Path) -> tuple[Link, str | None]:
    """Where the chain ends, after a check of its last records and of the newest checkpoint."""
    newest_time = _newest_time(connection)
    start = base(connection)
    before = link_at(connection, max(last_seq(connection) - _TAIL, start.seq)) or start
    head = verify(entries(connection, before.seq), before)
    if isinstance(head, Break):
        raise EvidenceUnavailable(f"{path}: record {head.seq}: {head.reason}")
    _hold_to_checkpoint(connection, path)
    return head, newest_time


def _newest_time(connection: Connection) -> str | None:
    accepted = select(func.max(RECORDS.c.seq)).where(RECORDS.c.kind == EventType.CLOCK_ACCEPTED.value)
    since = connection.scalar(accepted) or 0
    newest: str | None = connection.scalar(select(func.max(RECORDS.c.time)).where(RECORDS.c.seq >= since))
    return newest


def _hold_to_checkpoint(connection: Connection, path: Path) -> None:
    kept = connection.scalar(select(CHECKPOINTS.c.checkpoint).order_by(CHECKPOINTS.c.seq.desc()).limit(1))
    if kept is None:
        return
    try:
        statement = decode_checkpoint(kept).statement
    except UNDECODABLE as error:
        raise EvidenceUnavailable(f"{path}: the newest checkpoint is no checkpoint: {error}") from error
    found = link_at(connection, statement.seq)
    if statement.seq >= base(connection).seq and (found is None or found.hash.hex() != statement.hash):
        raise EvidenceUnavailable(f"{path}: record {statement.seq}: missing, or not what its checkpoint says")
