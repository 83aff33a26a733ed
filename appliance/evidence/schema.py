"""The tables, and connections to the embedded store: one that writes, any number that only read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

FORMAT = "1"
BUSY_TIMEOUT_S = 5

METADATA = MetaData()

RECORDS = Table(
    "records",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("trace_id", String),
    Column("identifier", String),
    Column("reversed_name", String),
    Column("method", String),
    Column("is_valid", Boolean),
    Column("quorum", String),
    Column("perspectives", String),
    Column("hash", LargeBinary, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("records_time", RECORDS.c.time)
Index("records_trace_id", RECORDS.c.trace_id)
Index("records_reversed_name", RECORDS.c.reversed_name)

# Signed statements of how far the chain went (`appliance.evidence.checkpoint.Checkpoint` as JSON).
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("checkpoint", LargeBinary, nullable=False),
)

# What was moved to archives: records up to `last_seq`, whose hash is that of the last of them.
SEGMENTS = Table(
    "segments",
    METADATA,
    Column("last_seq", Integer, primary_key=True, autoincrement=False),
    Column("first_seq", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("time", String, nullable=False),
    Column("file", String, nullable=False),
)

# What holds of the store as a whole: `format`; in an archived segment `base_seq` and `base_hash`, where it begins.
PROPERTIES = Table(
    "properties",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


def writing_engine(path: Path) -> Engine:
    """An engine whose commits are on disk when they return (WAL, synchronous FULL). `path` is made if it is not there."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _make_durable)
    return engine


def reading_engine(path: Path) -> Engine:
    """An engine that cannot write, beside a running writer or alone. The file must be there."""
    return create_engine(
        URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"}),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )


def _make_durable(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
