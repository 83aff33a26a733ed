"""A store that cannot write answers nobody, and works again when it can. A killed writer loses nothing acknowledged."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.errors import EvidenceUnavailable
from appliance.evidence import EvidenceWriter
from appliance.evidence.chain import Entry, Link, verify
from appliance.evidence.schema import RECORDS, reading_engine
from tests.unit.evidence.samples import decision

LOAD = "tests.unit.evidence.load"


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Writes past the limit fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def stored(path: Path) -> list[Entry]:
    with reading_engine(path).connect() as connection:
        query = select(RECORDS.c.seq, RECORDS.c.record, RECORDS.c.hash).order_by(RECORDS.c.seq)
        return [Entry(*row) for row in connection.execute(query)]


async def test_a_full_disk_refuses_and_space_heals(tmp_path: Path) -> None:
    path = tmp_path / "evidence.sqlite"
    writer = EvidenceWriter.open(path)
    acknowledged = [(await writer.submit(decision(number))).seq for number in range(5)]
    with file_size_limit(path.stat().st_size + 8192):
        for number in range(5, 8):
            with pytest.raises(EvidenceUnavailable):
                await writer.submit(decision(number))
            assert writer.failure is not None
    acknowledged += [(await writer.submit(decision(number))).seq for number in range(8, 12)]
    assert writer.failure is None
    await writer.close()
    entries = stored(path)
    assert isinstance(verify(entries), Link)
    assert acknowledged == list(range(1, 10))
    assert len(entries) == 9


async def test_a_store_that_vanished_refuses(tmp_path: Path) -> None:
    path = tmp_path / "evidence.sqlite"
    writer = EvidenceWriter.open(path)
    await writer.submit(decision(1))
    with file_size_limit(0), pytest.raises(EvidenceUnavailable):
        await writer.submit(decision(2))
    path.unlink()
    tmp_path.joinpath("evidence.sqlite-wal").unlink()
    path.mkdir()
    with pytest.raises(EvidenceUnavailable):
        await writer.submit(decision(3))
    await writer.close()


def killed_under_load(path: Path, after: int) -> list[str]:
    """The receipts, `seq hash`, that a writing process had given away when it was killed, `after` of them at least."""
    command = [sys.executable, "-m", LOAD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    return [line.strip() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]


def rounds_of_killing(path: Path, rounds: int) -> None:
    chance = random.Random(20)
    receipts: list[str] = []
    for _ in range(rounds):
        receipts += killed_under_load(path, chance.randrange(1, 120))
    entries = stored(path)
    kept = {f"{entry.seq} {entry.hash.hex()}" for entry in entries}
    assert isinstance(verify(entries), Link)
    assert [receipt for receipt in receipts if receipt not in kept] == []
    assert len(set(receipts)) == len(receipts)
    assert len({entry.record for entry in entries}) == len(entries)


def test_kill_loses_no_receipt_and_doubles_no_record(tmp_path: Path) -> None:
    rounds_of_killing(tmp_path / "evidence.sqlite", rounds=20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_loses_no_receipt_and_doubles_no_record_200_times(tmp_path: Path) -> None:
    rounds_of_killing(tmp_path / "evidence.sqlite", rounds=200)
