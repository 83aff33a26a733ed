"""Checkpoints are made when they are due, reach every witness, and hinder no decision."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from appliance.errors import EvidenceUnavailable
from appliance.evidence import EvidenceWriter
from appliance.evidence.checkpoint import Checkpoint, CheckpointKey, decode_checkpoint, is_genuine
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.reading import checkpoints, reading
from appliance.evidence.schema import CHECKPOINTS, RECORDS, writing_engine
from tests.unit.evidence.samples import event


@pytest.fixture
def key(tmp_path: Path) -> CheckpointKey:
    return CheckpointKey.load_or_make(tmp_path / "checkpoint.key")


def kept(path: Path) -> list[int]:
    with reading(path) as connection:
        return [seq for seq, _ in checkpoints(connection)]


async def write(path: Path, checkpointing: Checkpointing, records: int) -> None:
    writer = EvidenceWriter.open(path, checkpointing)
    for number in range(records):
        await writer.submit(event(number))
    await writer.close()


async def test_every_n_records_and_at_the_end(tmp_path: Path, key: CheckpointKey) -> None:
    told: list[Checkpoint] = []
    checkpointing = Checkpointing(key, every_records=3, every_s=3600, file=tmp_path / "file", announce=told.append)
    await write(tmp_path / "store", checkpointing, 7)
    assert kept(tmp_path / "store") == [3, 6, 7]
    assert [checkpoint.statement.seq for checkpoint in told] == [3, 6, 7]
    assert [decode_checkpoint(line) for line in (tmp_path / "file").read_bytes().splitlines()] == told
    assert all(is_genuine(checkpoint) and checkpoint.statement.key == key.public for checkpoint in told)


async def test_after_a_time_without_many_records(tmp_path: Path, key: CheckpointKey) -> None:
    made = asyncio.Event()
    loop = asyncio.get_running_loop()

    def announce(_checkpoint: Checkpoint) -> None:
        loop.call_soon_threadsafe(made.set)

    checkpointing = Checkpointing(key, every_records=1000, every_s=0.02, announce=announce)
    writer = EvidenceWriter.open(tmp_path / "store", checkpointing)
    await writer.submit(event(1))
    await asyncio.wait_for(made.wait(), 20)
    await writer.close()
    assert kept(tmp_path / "store") == [1]


async def test_none_is_made_twice(tmp_path: Path, key: CheckpointKey) -> None:
    await write(tmp_path / "store", Checkpointing(key), 2)
    await write(tmp_path / "store", Checkpointing(key), 0)
    assert kept(tmp_path / "store") == [2]


async def test_a_witness_that_cannot_be_reached_hinders_nothing(tmp_path: Path, key: CheckpointKey) -> None:
    checkpointing = Checkpointing(key, every_records=1, every_s=3600, file=tmp_path / "no" / "such" / "directory")
    await write(tmp_path / "store", checkpointing, 3)
    assert kept(tmp_path / "store") == [1, 2, 3]
    assert checkpointing.failure is not None


async def test_a_tail_cut_below_the_newest_checkpoint_refuses_to_open(tmp_path: Path, key: CheckpointKey) -> None:
    path = tmp_path / "store"
    await write(path, Checkpointing(key), 5)
    with writing_engine(path).begin() as connection:
        connection.execute(delete(RECORDS).where(RECORDS.c.seq > 3))
    with pytest.raises(EvidenceUnavailable, match="record 5"):
        EvidenceWriter.open(path)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first, second = CheckpointKey.load_or_make(path), CheckpointKey.load_or_make(path)
    assert first.public == second.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key.pub").read_text().strip() == first.public
    path.chmod(0o640)
    with pytest.raises(EvidenceUnavailable, match="0600"):
        CheckpointKey.load_or_make(path)
    path.chmod(0o600)
    path.write_bytes(b"no key")
    with pytest.raises(EvidenceUnavailable):
        CheckpointKey.load_or_make(path)


def test_the_format_of_the_table_is_what_is_read(pristine: Path) -> None:
    with reading(pristine) as connection:
        rows = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.seq)).all()
    assert [(seq, decode_checkpoint(line).statement.seq) for seq, line in rows] == [(n, n) for n in (10, 20, 30, 32)]
