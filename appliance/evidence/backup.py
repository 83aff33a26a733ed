"""Whole copies of a store: one file, made while the writer runs; and the way back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from appliance.errors import EvidenceUnavailable
from appliance.evidence.actor import actor_of
from appliance.evidence.audit import Report, Scope, verify_store
from appliance.evidence.chain import Link
from appliance.evidence.files import give_to_owner_of_directory, make_durable
from appliance.evidence.index import columns_of
from appliance.evidence.ledger import Ledger, locked
from appliance.evidence.reading import last_seq, link_at, reading
from appliance.evidence.record import EventRecord, EventType, encode, utc_text

_SIDE_FILES = ("-wal", "-shm")


def back_up(store: Path, copy: Path) -> Report:
    """Copies `store` as it is now to the new file `copy`, and verifies the copy. Decisions go on meanwhile.

    Raises `EvidenceUnavailable`; a copy that could not be completed is removed.
    """
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise EvidenceUnavailable(f"{copy}: {error.strerror}") from error
    try:
        _copy_database(store, copy)
        make_durable(copy)
        return verify_store(copy, Scope())
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def restore(copy: Path, store: Path) -> Link:
    """Puts the backup `copy` in the place of `store`, whose writer must not run; what was there is kept beside it.

    The restored chain goes on with an event that says how far it had gone before. Returns its new end. Raises
    `EvidenceUnavailable`: a writer runs, or the copy does not verify; then nothing was changed.
    """
    report = verify_store(copy, Scope())
    if not report.ok:
        first = report.problems[0]
        raise EvidenceUnavailable(f"{copy}: record {first.seq}: {first.reason}")
    lock = locked(store)
    try:
        lost = _end_of(store)
        aside = _exchange(copy, store)
    except OSError as error:
        os.close(lock)
        raise EvidenceUnavailable(f"{store}: {error.strerror}") from error
    ledger = Ledger(store, lock)
    try:
        facts = (("from", str(copy)), ("aside", str(aside)), ("restored_through", str(ledger.head.seq)), *lost)
        event = EventRecord(utc_text(datetime.now(UTC)), EventType.RESTORE, actor_of(), subject=str(store), facts=facts)
        ledger.append([(columns_of(event), encode(event))])
        return ledger.head
    finally:
        ledger.close()


def _end_of(store: Path) -> tuple[tuple[str, str], ...]:
    """How far the replaced store went, for the record; a store that is damaged or gone cannot say."""
    try:
        with reading(store) as connection:
            head = link_at(connection, last_seq(connection))
    except EvidenceUnavailable as error:
        return (("replaced", str(error)),)
    return () if head is None else (("replaced_through", str(head.seq)), ("replaced_hash", head.hash.hex()))


def _exchange(copy: Path, store: Path) -> Path | None:
    """Brings `copy` beside `store` and then into its place; what was there gets a name with the time."""
    incoming = store.with_name(f"{store.name}.restoring")
    shutil.copyfile(copy, incoming)
    incoming.chmod(0o640)
    give_to_owner_of_directory(incoming)
    make_durable(incoming)
    aside = None
    if store.exists():
        aside = store.with_name(f"{store.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
        for suffix in ("", *_SIDE_FILES):
            beside = Path(f"{store}{suffix}")
            if beside.exists():
                beside.rename(f"{aside}{suffix}")
    incoming.rename(store)
    return aside


def _copy_database(source: Path, target: Path) -> None:
    """One consistent state of `source`, in one file without a log."""
    try:
        origin = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)
        copy = sqlite3.connect(target)
        try:
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
            origin.close()
    except sqlite3.Error as error:
        raise EvidenceUnavailable(f"{target}: {error}") from error
