"""The store of evidence as the coordinator runs it: with checkpoints, told to the journal, pruned on request."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol

from appliance.config import Settings
from appliance.errors import BadRequest
from appliance.evidence.announce import JournalAnnouncer
from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.ledger import Segment
from appliance.evidence.record import Actor
from appliance.evidence.retention import TooYoung, archive_of, prune
from appliance.evidence.writer import EvidenceWriter
from appliance.linux.journal import Journal


class Prunes(Protocol):
    """What the operators' API needs of the store."""

    async def prune(self, before: datetime, now: datetime, actor: Actor) -> Segment | None:
        """Archives the oldest records. Raises `BadRequest` for what must be kept, `EvidenceUnavailable`."""


class Store:
    """The open store at `path`. `writer` is the only way into it."""

    def __init__(self, path: Path, key: CheckpointKey, writer: EvidenceWriter, journal: Journal) -> None:
        self.writer = writer
        self._path = path
        self._key = key
        self._journal = journal

    async def prune(self, before: datetime, now: datetime, actor: Actor) -> Segment | None:
        """Archives the oldest records. Raises `BadRequest` for what must be kept, `EvidenceUnavailable`."""
        try:
            return await prune(
                self.writer, self._path, archive_of(self._path), self._key, actor, before=before, now=now
            )
        except TooYoung as error:
            raise BadRequest("before", str(error)) from error

    async def close(self) -> None:
        """Writes what is queued, then tells the journal the rest."""
        await self.writer.close()
        self._journal.close()


def open_store(settings: Settings) -> Store:
    """The store that is configured, its end verified. Raises `EvidenceUnavailable`."""
    path, configured = settings.database, settings.evidence
    key = CheckpointKey.load_or_make(path.with_name(KEY_NAME))
    journal = Journal("mpicd")
    announcer = JournalAnnouncer(journal)
    checkpointing = Checkpointing(
        key,
        every_records=configured.checkpoint_records,
        every_s=configured.checkpoint_s,
        file=configured.checkpoint_file,
        announce=announcer.checkpoint,
    )
    try:
        return Store(path, key, EvidenceWriter.open(path, checkpointing, announcer), journal)
    except BaseException:
        journal.close()
        raise
