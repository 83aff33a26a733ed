"""Every acknowledged record is on disk; none is acknowledged that is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import OperationalError

from appliance.errors import EvidenceUnavailable
from appliance.evidence import EvidenceWriter, Receipt
from appliance.evidence.chain import Entry, Link, verify
from appliance.evidence.record import encode
from appliance.evidence.schema import RECORDS, reading_engine, writing_engine
from tests.unit.evidence.samples import EPOCH, decision, event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence" / "evidence.sqlite"


@pytest_asyncio.fixture
async def writer(path: Path) -> AsyncIterator[EvidenceWriter]:
    writer = EvidenceWriter.open(path)
    yield writer
    await writer.close()


def stored(path: Path) -> list[Entry]:
    engine = reading_engine(path)
    with engine.connect() as connection:
        query = select(RECORDS.c.seq, RECORDS.c.record, RECORDS.c.hash).order_by(RECORDS.c.seq)
        return [Entry(*row) for row in connection.execute(query)]


async def test_a_receipt_names_what_is_stored(writer: EvidenceWriter, path: Path) -> None:
    record = decision(1)
    receipt = await writer.submit(record)
    (entry,) = stored(path)
    assert (entry.seq, entry.record, entry.hash.hex()) == (receipt.seq, encode(record), receipt.hash)


async def test_concurrent_records_keep_their_order_and_chain(writer: EvidenceWriter, path: Path) -> None:
    records = [decision(number) for number in range(600)]
    receipts = await asyncio.gather(*(writer.submit(record) for record in records))
    entries = stored(path)
    assert [entry.record for entry in entries] == [encode(record) for record in records]
    assert [Receipt(entry.seq, entry.hash.hex()) for entry in entries] == receipts
    assert verify(entries) == Link(600, entries[-1].hash)


async def test_a_caller_that_hangs_up_changes_nothing(writer: EvidenceWriter, path: Path) -> None:
    abandoned = writer.submit(decision(1))
    abandoned.cancel()
    await writer.submit(decision(2))
    assert [entry.record for entry in stored(path)] == [encode(decision(1)), encode(decision(2))]


async def test_the_chain_goes_on_after_a_restart(path: Path) -> None:
    for start in (0, 3):
        writer = EvidenceWriter.open(path)
        for number in range(start, start + 3):
            assert (await writer.submit(event(number))).seq == number + 1
        await writer.close()
    assert isinstance(verify(stored(path)), Link)


async def test_what_is_queued_at_close_is_written_and_nothing_after(path: Path) -> None:
    writer = EvidenceWriter.open(path)
    pending = [writer.submit(event(number)) for number in range(20)]
    await writer.close()
    assert len(await asyncio.gather(*pending)) == len(stored(path)) == 20
    with pytest.raises(EvidenceUnavailable):
        await writer.submit(event(21))


async def test_a_second_writer_is_refused(writer: EvidenceWriter, path: Path) -> None:
    with pytest.raises(EvidenceUnavailable, match="another process"):
        EvidenceWriter.open(path)
    assert (await writer.submit(event(1))).seq == 1


async def test_a_record_without_canonical_form_fails_alone(writer: EvidenceWriter, path: Path) -> None:
    bad = writer.submit(decision(1, requested="\ud800"))
    good = writer.submit(decision(2))
    with pytest.raises(EvidenceUnavailable, match="canonical"):
        await bad
    assert (await good).seq == 1
    assert len(stored(path)) == 1


async def test_the_newest_time_is_the_latest_ever(path: Path) -> None:
    writer = EvidenceWriter.open(path)
    assert writer.newest_record_time() is None
    await writer.submit(decision(1, at=EPOCH + timedelta(days=2)))
    await writer.submit(decision(2, at=EPOCH))
    assert writer.newest_record_time() == EPOCH + timedelta(days=2)
    await writer.close()
    reopened = EvidenceWriter.open(path)
    assert reopened.newest_record_time() == EPOCH + timedelta(days=2)
    await reopened.close()


async def _three_records(path: Path) -> None:
    writer = EvidenceWriter.open(path)
    await asyncio.gather(*(writer.submit(event(number)) for number in range(3)))
    await writer.close()


async def test_a_changed_tail_refuses_to_open(path: Path) -> None:
    await _three_records(path)
    with writing_engine(path).begin() as connection:
        connection.execute(update(RECORDS).where(RECORDS.c.seq == 2).values(record=b"{}"))
    with pytest.raises(EvidenceUnavailable, match="record 2: changed"):
        EvidenceWriter.open(path)


async def test_a_gap_in_the_tail_refuses_to_open(path: Path) -> None:
    await _three_records(path)
    with writing_engine(path).begin() as connection:
        connection.execute(delete(RECORDS).where(RECORDS.c.seq == 2))
    with pytest.raises(EvidenceUnavailable, match="record 2: missing"):
        EvidenceWriter.open(path)


def test_a_file_that_is_no_store_refuses_to_open(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(EvidenceUnavailable):
        EvidenceWriter.open(path)


async def test_readers_can_not_write_and_need_no_writer(path: Path) -> None:
    await _three_records(path)
    with reading_engine(path).connect() as connection:
        assert connection.scalar(select(func.count()).select_from(RECORDS)) == 3
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(delete(RECORDS))


def test_the_log_stays_for_readers_that_may_not_create_it(path: Path) -> None:
    asyncio.run(_three_records(path))
    assert {file.name for file in path.parent.iterdir()} >= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    assert path.stat().st_mode & 0o777 == 0o640
