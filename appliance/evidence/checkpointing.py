"""When checkpoints are made, and to whom they are told: the store, an append-only file, the journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance.evidence.chain import Link
from appliance.evidence.checkpoint import Checkpoint, CheckpointKey, encode_checkpoint
from appliance.evidence.ledger import Ledger
from appliance.evidence.record import utc_text


class Checkpointing:
    """Makes a checkpoint when `every_records` records or `every_s` seconds have passed and there is something new.

    `file`: where each is appended as a line (the administrator makes it append-only: `chattr +a`, or a remote mount).
    `announce` hears of each one, on the writer's thread. `failure`: why the last one could not be kept everywhere.
    """

    def __init__(
        self,
        key: CheckpointKey,
        *,
        every_records: int = 1000,
        every_s: float = 300.0,
        file: Path | None = None,
        announce: Callable[[Checkpoint], None] = lambda _checkpoint: None,
    ) -> None:
        self.key = key
        self.failure: str | None = None
        self._every_records = every_records
        self._every_s = every_s
        self._file = file
        self._announce = announce
        self._last_seq: int | None = None
        self._last_s = time.monotonic()

    def wait_s(self) -> float:
        """Seconds until the next one may be due."""
        return max(0.0, self._last_s + self._every_s - time.monotonic())

    def tend(self, ledger: Ledger, *, now: bool = False) -> None:
        """Makes a checkpoint of `ledger` if one is due, or if `now` and there is something new."""
        if self._last_seq is None:
            self._last_seq = ledger.checkpointed_seq
        fresh = ledger.head.seq - self._last_seq
        waited = self.wait_s() == 0.0
        if waited:
            self._last_s = time.monotonic()
        if fresh >= self._every_records or (fresh > 0 and (now or waited)):
            self._make(ledger)

    def _make(self, ledger: Ledger) -> None:
        head: Link = ledger.head
        checkpoint = self.key.sign(head, utc_text(datetime.now(UTC)))
        try:
            ledger.add_checkpoint(checkpoint)
            self._last_seq, self._last_s = head.seq, time.monotonic()
            self._announce(checkpoint)
            if self._file is not None:
                _append(self._file, encode_checkpoint(checkpoint))
            self.failure = None
        except Exception as error:  # decisions must go on being written, whatever hinders a witness
            self.failure = f"{type(error).__name__}: {error}"


def _append(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, line + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
