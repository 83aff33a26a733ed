"""Verification of a whole store, in one pass and constant memory: the chain, and on request what the records say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from sqlalchemy import Connection, Row, select

from appliance.evidence.chain import Break, Entry, Link, follow
from appliance.evidence.deep import deep_problems
from appliance.evidence.reading import PAGE_ROWS, base, reading
from appliance.evidence.schema import RECORDS
from appliance.evidence.witness import Witness, checkpoint_problems, receipt_problems, witness_file

MAX_PROBLEMS = 1000
_PLAIN = (RECORDS.c.seq, RECORDS.c.record, RECORDS.c.hash)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and with which record (0: with the store as a whole)."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at beside the chain of hashes.

    `deep`: each record is parsed, must be canonical, and must say what the index says. `replay`: each decision is
    computed again. `keys`: public keys (hex) whose checkpoints are trusted; `checkpoints` and `receipts`: files of
    witnesses kept elsewhere.
    """

    deep: bool = False
    replay: bool = False
    keys: frozenset[str] = frozenset()
    checkpoints: tuple[Path, ...] = ()
    receipts: tuple[Path, ...] = ()


@dataclass(slots=True)
class Report:
    """What was found. `archived_through`: the last record that is in an archived segment; `head`: the end of the chain."""

    archived_through: int
    head: Link
    records: int = 0
    record_bytes: int = 0
    elapsed_s: float = 0.0
    checkpoints: int = 0
    receipts: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what is there, as far as was looked."""
        return not self.problems

    def add(self, seq: int, reason: str) -> None:
        """Notes a problem; past `MAX_PROBLEMS` the rest is not worth its memory."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(seq, reason))


def verify_store(path: Path, scope: Scope, progress: Callable[[int], None] = lambda _seq: None) -> Report:
    """Reads the whole store at `path`. `progress` hears the number of the record reached, now and then.

    Raises `EvidenceUnavailable` where the store cannot be read, `OSError` where a witnesses' file cannot.
    """
    started_s = time.perf_counter()
    receipts, kept = [witness_file(each) for each in scope.receipts], [witness_file(each) for each in scope.checkpoints]
    with reading(path) as connection:
        start = base(connection)
        report = Report(archived_through=start.seq, head=start)
        _follow_chain(connection, scope, report, progress)
        report.elapsed_s = time.perf_counter() - started_s
        witness = Witness(connection, start, report.head)
        for found in chain(checkpoint_problems(witness, scope.keys, kept), receipt_problems(witness, receipts)):
            report.add(*found)
        report.checkpoints, report.receipts = witness.checkpoints, witness.receipts
    return report


def _follow_chain(connection: Connection, scope: Scope, report: Report, progress: Callable[[int], None]) -> None:
    """Hashes the stored bytes. After a break it goes on from what is stored, so that each bad record is named once."""
    problems_of = deep_problems(connection, replay=scope.replay) if scope.deep or scope.replay else None
    for row in _rows(connection, report.head.seq, everything=problems_of is not None):
        entry = Entry(row.seq, row.record, row.hash)
        step = follow(report.head, entry)
        if isinstance(step, Break):
            report.add(step.seq, step.reason)
            step = Link(entry.seq, entry.hash)
        elif problems_of is not None:
            for reason in problems_of(row):
                report.add(entry.seq, reason)
        report.head = step
        report.records += 1
        report.record_bytes += len(entry.record)
        if report.records % PAGE_ROWS == 0:
            progress(entry.seq)


def _rows(connection: Connection, after: int, *, everything: bool) -> Iterator[Row[tuple[object, ...]]]:
    query = select(RECORDS) if everything else select(*_PLAIN)
    ordered = query.where(RECORDS.c.seq > after).order_by(RECORDS.c.seq)
    yield from connection.execution_options(yield_per=PAGE_ROWS).execute(ordered)
