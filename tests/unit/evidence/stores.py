"""Stores as a deployment leaves them, for tests to read and to damage."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from appliance.evidence import (
    EventRecord,
    EventType,
    EvidenceWriter,
    PerspectiveSetRef,
    Receipt,
    actor_of,
    perspective_set_of,
    utc_text,
)
from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.checkpointing import Checkpointing
from tests.unit.evidence.samples import EPOCH, decision, event, fleet

NAME = "evidence.sqlite"
RECEIPTS = "receipts.jsonl"
WITNESS = "checkpoints.jsonl"
EVERY = 10


async def fill(
    directory: Path, decisions: int, *, first_at: datetime = EPOCH, apart: timedelta = timedelta(milliseconds=1)
) -> list[Receipt]:
    """A store with one perspective set, `decisions` decisions `apart`, and one event; returns the decisions' receipts."""
    key = CheckpointKey.load_or_make(directory / KEY_NAME)
    checkpointing = Checkpointing(key, every_records=EVERY, every_s=3600, file=directory / WITNESS)
    writer = EvidenceWriter.open(directory / NAME, checkpointing)
    sites = perspective_set_of(fleet())
    ref = await writer.submit(
        EventRecord(utc_text(first_at), EventType.PERSPECTIVE_SET, actor_of(), perspective_set=sites)
    )
    perspective_set = PerspectiveSetRef(ref.seq, ref.hash)
    receipts = []
    for number in range(decisions):
        failing = {0: frozenset({"nrt"}), 1: frozenset({"ams", "nyc", "gru"})}.get(number % 5, frozenset[str]())
        name = f"host{number % 3}.example.com"
        at = first_at + apart * number
        record = decision(number, name=name, failing=failing, at=at, perspective_set=perspective_set)
        receipts.append(await writer.submit(record))
    await writer.submit(event(decisions))
    await writer.close()
    with (directory / RECEIPTS).open("a") as log:
        for receipt in receipts:
            log.write(msgspec.json.encode({"is_corroborated": True, "mpic": {"receipt": receipt}}).decode() + "\n")
    return receipts


def make(directory: Path, decisions: int = 30) -> Path:
    asyncio.run(fill(directory, decisions))
    return directory / NAME


def copy_of(store: Path, directory: Path) -> Path:
    """The whole directory of `store`, elsewhere; returns the copy of `store`."""
    shutil.copytree(store.parent, directory, dirs_exist_ok=True)
    return directory / store.name


def now() -> datetime:
    return datetime.now(UTC)
