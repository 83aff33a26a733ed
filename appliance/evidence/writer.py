"""The thread that writes evidence: what was submitted while it wrote is its next commit, and none is answered before."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

from appliance.errors import EvidenceUnavailable
from appliance.evidence.announce import Announcer
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.index import Columns, columns_of
from appliance.evidence.ledger import Ledger
from appliance.evidence.record import EvidenceRecord, Receipt, encode

_log = logging.getLogger("mpicd")

MAX_BATCH = 256

Waiter = asyncio.Future[Receipt]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Submission:
    record: EvidenceRecord
    waiter: Waiter


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one submission."""

    submission: _Submission
    outcome: Receipt | EvidenceUnavailable


Job = Callable[[], None]


class EvidenceWriter:
    """The only way into the store. `open` it, `submit` from one event loop, `close` it.

    `failure`: why the last commit failed, None after one that succeeded. `pruning`: held by the one call that archives.
    """

    def __init__(self, ledger: Ledger, checkpointing: Checkpointing | None, announcer: Announcer | None) -> None:
        self.failure: str | None = None
        self.pruning = asyncio.Lock()
        self._ledger = ledger
        self._checkpointing = checkpointing
        self._announcer = announcer
        self._queue: SimpleQueue[_Submission | Job | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, checkpointing: Checkpointing | None = None, announcer: Announcer | None = None) -> Self:
        """The writer of the store at `path`, made where there is none; blocks while the end of the chain is verified.

        `announcer` hears, on the writer's thread, of each record that has become durable, and of failures.
        Raises `EvidenceUnavailable`: no space or permission, another writer, or a tail that does not verify.
        """
        return cls(Ledger(path), checkpointing, announcer)

    def submit(self, record: EvidenceRecord) -> asyncio.Future[Receipt]:
        """Queues `record`; whoever calls need not wait, or may stop waiting: it is written all the same.

        The future gives the receipt once the record is durable, or `EvidenceUnavailable`: then it must not be answered.
        """
        waiter: Waiter = asyncio.get_running_loop().create_future()
        if self._closed:
            waiter.set_exception(EvidenceUnavailable("the store of evidence is closed"))
        else:
            self._queue.put(_Submission(record, waiter))
        return waiter

    async def run(self, work: Callable[[Ledger], T]) -> T:
        """What `work` returns or raises, done between two commits on the writer's thread; decisions wait meanwhile."""
        if self._closed:
            raise EvidenceUnavailable("the store of evidence is closed")
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def job() -> None:
            try:
                done.set_result(work(self._ledger))
            except Exception as error:
                done.set_exception(error)

        self._queue.put(job)
        return await asyncio.wrap_future(done)

    def newest_record_time(self) -> datetime | None:
        """The latest time that any record bears, from the last `clock-accepted` event on: the policy date is never before it
        (BR 3.2.2.9's table is dated)."""
        newest = self._ledger.newest_time
        return None if newest is None else datetime.fromisoformat(newest)

    async def close(self) -> None:
        """Writes what is queued and a last checkpoint, and lets go of the store."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        more = True
        while more:
            batch, job, more = self._take()
            if batch:
                failure_before = self.failure
                told = self._outcomes(batch)
                _deliver(told)
                self._tell(told, failure_before)
            if job is not None:
                job()
            if self._checkpointing is not None:
                self._checkpointing.tend(self._ledger, now=not more)
        self._ledger.close()

    def _take(self) -> tuple[list[_Submission], Job | None, bool]:
        """Waits for something to do, at most until a checkpoint is due; then takes all submissions that are there, up to
        the next job. False once there will be no more."""
        batch: list[_Submission] = []
        try:
            item = self._queue.get(timeout=None if self._checkpointing is None else self._checkpointing.wait_s())
            while isinstance(item, _Submission):
                batch.append(item)
                if len(batch) == MAX_BATCH:
                    return batch, None, True
                item = self._queue.get_nowait()
        except Empty:
            return batch, None, True
        return batch, item, item is not None

    def _outcomes(self, batch: Sequence[_Submission]) -> list[_Told]:
        """Whatever happens, everyone who waits is told: a thread that died silently would leave decisions hanging."""
        try:
            return self._write(batch)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            return [_Told(each, EvidenceUnavailable(f"writing failed: {error}")) for each in batch]

    def _write(self, batch: Sequence[_Submission]) -> list[_Told]:
        told: list[_Told] = []
        rows: list[tuple[Columns, bytes]] = []
        written: list[_Submission] = []
        for each in batch:
            try:
                rows.append((columns_of(each.record), encode(each.record)))
                written.append(each)
            except (ValueError, TypeError, AttributeError) as error:
                told.append(_Told(each, EvidenceUnavailable(f"a record has no canonical form: {error}")))
        try:
            receipts = self._ledger.append(rows) if rows else []
            self.failure = None
        except EvidenceUnavailable as error:
            self.failure = str(error)
            return told + [_Told(each, EvidenceUnavailable(str(error))) for each in written]
        return told + [_Told(each, receipt) for each, receipt in zip(written, receipts, strict=True)]

    def _tell(self, told: Sequence[_Told], failure_before: str | None) -> None:
        if self._announcer is None:
            return
        try:
            if self.failure is not None and failure_before is None:
                self._announcer.unavailable(self.failure)
            elif self.failure is None and failure_before is not None:
                self._announcer.available()
            for each in told:
                if isinstance(each.outcome, Receipt):
                    self._announcer.record(each.submission.record, each.outcome)
        except Exception:
            _log.exception("records that are durable could not be announced")


def _deliver(told: list[_Told]) -> None:
    """Hands the outcomes to the event loop, all in one wake-up."""
    try:
        told[0].submission.waiter.get_loop().call_soon_threadsafe(_settle, told)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more, and what was written stays written


def _settle(told: list[_Told]) -> None:
    for each in told:
        waiter = each.submission.waiter
        if waiter.done():
            continue
        if isinstance(each.outcome, Receipt):
            waiter.set_result(each.outcome)
        else:
            waiter.set_exception(each.outcome)
