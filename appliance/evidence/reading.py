"""What writer, verifier and reports read of a store, each through a connection of its own; no more than one page of rows
is held at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import EvidenceUnavailable
from appliance.evidence.chain import START, Entry, Link
from appliance.evidence.checkpoint import Checkpoint, decode_checkpoint
from appliance.evidence.schema import CHECKPOINTS, FORMAT, PROPERTIES, RECORDS, SEGMENTS, reading_engine

PAGE_ROWS = 200


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A connection that sees one state of the store from its first query on. Raises `EvidenceUnavailable` also for what
    goes wrong while it is used: no store, no permission, damage that SQLite finds."""
    try:
        with reading_engine(path).connect() as connection:
            found = property_of(connection, "format")
            connection.rollback()
            # The driver begins no transaction for queries by itself; without one each would see a newer state.
            connection.exec_driver_sql("BEGIN")
            if found != FORMAT:
                raise EvidenceUnavailable(f"{path}: format {found}, this version reads {FORMAT}")
            yield connection
    except SQLAlchemyError as error:
        raise EvidenceUnavailable(f"{path}: {cause(error)}") from error


def property_of(connection: Connection, name: str) -> str | None:
    """What the store says of itself."""
    return connection.scalar(select(PROPERTIES.c.value).where(PROPERTIES.c.name == name))


def base(connection: Connection) -> Link:
    """Where the store's own records begin: after the last archived segment; in a segment, after the one before it."""
    archived = connection.execute(
        select(SEGMENTS.c.last_seq, SEGMENTS.c.hash).order_by(SEGMENTS.c.last_seq.desc()).limit(1)
    ).first()
    if archived is not None:
        return Link(*archived)
    seq, digest = property_of(connection, "base_seq"), property_of(connection, "base_hash")
    return START if seq is None or digest is None else Link(int(seq), bytes.fromhex(digest))


def last_seq(connection: Connection) -> int:
    """The number of the last record, archived ones included; 0 for none."""
    return connection.scalar(select(func.max(RECORDS.c.seq))) or base(connection).seq


def link_at(connection: Connection, seq: int) -> Link | None:
    """The stored hash of record `seq`; None where the store does not have it."""
    start = base(connection)
    if seq == start.seq:
        return start
    row = connection.execute(select(RECORDS.c.seq, RECORDS.c.hash).where(RECORDS.c.seq == seq)).first()
    return None if row is None else Link(*row)


def entries(connection: Connection, after: int) -> Iterator[Entry]:
    """The records after number `after`, in order."""
    query = select(RECORDS.c.seq, RECORDS.c.record, RECORDS.c.hash).where(RECORDS.c.seq > after).order_by(RECORDS.c.seq)
    for row in connection.execution_options(yield_per=PAGE_ROWS).execute(query):
        yield Entry(*row)


def checkpoints(connection: Connection) -> Iterator[tuple[int, Checkpoint]]:
    """The store's own checkpoints with the number under which each is kept. Raises `msgspec.DecodeError`."""
    query = select(CHECKPOINTS.c.seq, CHECKPOINTS.c.checkpoint).order_by(CHECKPOINTS.c.seq)
    for seq, line in connection.execution_options(yield_per=PAGE_ROWS).execute(query):
        yield seq, decode_checkpoint(line)


def cause(error: SQLAlchemyError) -> str:
    """What the database said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error)
