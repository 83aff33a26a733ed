"""A damaged copy of a store is reported with the number of the record; the untouched one verifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.chain import GENESIS, Link, link
from appliance.evidence.checkpoint import CheckpointKey, decode_checkpoint, encode_checkpoint, is_genuine
from appliance.evidence.reading import reading
from appliance.evidence.record import DecisionRecord, decode, encode
from appliance.evidence.schema import CHECKPOINTS, RECORDS, SEGMENTS, writing_engine
from appliance.model.observation import CaaFinding, LookupFailure, Outcome, ServerAsked, ServerSaid
from tests.unit.evidence.stores import RECEIPTS, WITNESS

PLAIN = Scope()
FULL = Scope(deep=True, replay=True)


def damage(store: Path, work: Callable[[Connection], object]) -> None:
    with writing_engine(store).begin() as connection:
        work(connection)


def bad(store: Path, scope: Scope = PLAIN) -> list[int]:
    return [problem.seq for problem in verify_store(store, scope).problems]


def row(connection: Connection, seq: int) -> Any:
    return connection.execute(select(RECORDS).where(RECORDS.c.seq == seq)).one()


def put(connection: Connection, seq: int, **values: Any) -> None:
    connection.execute(update(RECORDS).where(RECORDS.c.seq == seq).values(**values))


def rewrite_from(store: Path, seq: int, change: Callable[[DecisionRecord], DecisionRecord]) -> None:
    """What an intruder with the whole database would do: change a record, and every hash from there on."""

    def work(connection: Connection) -> None:
        before = Link(0, GENESIS)
        for entry in connection.execute(select(RECORDS).order_by(RECORDS.c.seq)).all():
            record = entry.record
            if entry.seq == seq:
                decoded = decode(record)
                assert isinstance(decoded, DecisionRecord)
                record = encode(change(decoded))
            before = link(before, record)
            put(connection, entry.seq, record=record, hash=before.hash)

    damage(store, work)


def flip_verdict(record: DecisionRecord) -> DecisionRecord:
    verdict = msgspec.structs.replace(record.verdict, is_valid=not record.verdict.is_valid)
    return msgspec.structs.replace(record, verdict=verdict)


def test_the_untouched_store_verifies_at_every_depth(store: Path) -> None:
    scope = Scope(deep=True, replay=True, receipts=(store.parent / RECEIPTS,), checkpoints=(store.parent / WITNESS,))
    report = verify_store(store, scope)
    assert report.problems == []
    assert (report.records, report.head.seq, report.receipts) == (32, 32, 30)
    assert report.checkpoints == 8


@pytest.mark.parametrize("seq", [1, 17, 32])
def test_one_changed_byte(store: Path, seq: int) -> None:
    def work(connection: Connection) -> None:
        record = bytearray(row(connection, seq).record)
        record[len(record) // 2] ^= 1
        put(connection, seq, record=bytes(record))

    damage(store, work)
    assert bad(store) == [seq]


@pytest.mark.parametrize("seq", [1, 17])
def test_one_removed_record(store: Path, seq: int) -> None:
    damage(store, lambda connection: connection.execute(delete(RECORDS).where(RECORDS.c.seq == seq)))
    assert bad(store) == [seq]


def test_two_swapped_records(store: Path) -> None:
    def work(connection: Connection) -> None:
        one, other = row(connection, 5), row(connection, 23)
        put(connection, 5, record=other.record, hash=other.hash)
        put(connection, 23, record=one.record, hash=one.hash)

    damage(store, work)
    assert {5, 23} <= set(bad(store))
    assert bad(store)[0] == 5


def test_a_cut_tail_is_seen_by_the_store_s_own_checkpoint(store: Path) -> None:
    damage(store, lambda connection: connection.execute(delete(RECORDS).where(RECORDS.c.seq > 25)))
    assert bad(store) == [30, 32]


@pytest.mark.parametrize("witness", [RECEIPTS, WITNESS])
def test_a_cut_tail_is_seen_by_a_witness_elsewhere(store: Path, witness: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(delete(RECORDS).where(RECORDS.c.seq > 25))
        connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.seq > 25))

    damage(store, work)
    assert bad(store) == []
    files = (store.parent / witness,)
    scope = Scope(receipts=files) if witness == RECEIPTS else Scope(checkpoints=files)
    assert bad(store, scope) == (list(range(26, 32)) if witness == RECEIPTS else [30, 32])


def test_a_rewritten_chain_is_seen_by_receipts_and_checkpoints(store: Path) -> None:
    rewrite_from(store, 20, flip_verdict)
    assert bad(store) == [20, 30, 32]
    assert bad(store, Scope(receipts=(store.parent / RECEIPTS,)))[3:] == list(range(20, 32))


@pytest.mark.parametrize("witness", [RECEIPTS, WITNESS])
@pytest.mark.parametrize(
    "line",
    [
        b"no\n",
        b'{"seq": "\xff"}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 5000 + b" aa\n",
        b"0 aa\n",
        b'{"seq": ' + b"9" * 5000 + b', "hash": "aa"}\n',
        b'{"seq": -5, "hash": "aa"}\n',
        b'{"seq": true, "hash": "aa"}\n',
        b'{"statement": {"seq": -5, "hash": "aa", "time": "", "key": ""}, "signature": ""}\n',
    ],
)
def test_a_line_of_a_witness_that_says_nothing_is_a_problem(store: Path, witness: str, line: bytes) -> None:
    file = store.parent / witness
    file.write_bytes(file.read_bytes() + line)
    scope = Scope(receipts=(file,)) if witness == RECEIPTS else Scope(checkpoints=(file,))
    assert bad(store, scope) == [0]


def test_a_checkpoint_signed_anew_is_not_trusted(store: Path, tmp_path: Path) -> None:
    rewrite_from(store, 20, flip_verdict)
    key = CheckpointKey.load_or_make(store.parent / "checkpoint.key")
    forger = CheckpointKey.load_or_make(tmp_path / "forger.key")

    def work(connection: Connection) -> None:
        connection.execute(delete(CHECKPOINTS))
        head = Link(32, row(connection, 32).hash)
        forged = encode_checkpoint(forger.sign(head, "2026-12-20T12:00:00.000000Z"))
        connection.execute(insert(CHECKPOINTS).values(seq=32, checkpoint=forged))

    damage(store, work)
    report = verify_store(store, Scope(keys=frozenset({key.public})))
    assert [(problem.seq, "another key" in problem.reason) for problem in report.problems] == [(32, True)]


def test_a_checkpoint_with_a_forged_signature_is_named(store: Path) -> None:
    rewrite_from(store, 20, flip_verdict)

    def work(connection: Connection) -> None:
        kept = connection.scalar(select(CHECKPOINTS.c.checkpoint).where(CHECKPOINTS.c.seq == 30))
        assert kept is not None
        checkpoint = decode_checkpoint(kept)
        statement = msgspec.structs.replace(checkpoint.statement, hash=row(connection, 30).hash.hex())
        forged = encode_checkpoint(msgspec.structs.replace(checkpoint, statement=statement))
        connection.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.seq == 30).values(checkpoint=forged))

    damage(store, work)
    reasons = {problem.seq: problem.reason for problem in verify_store(store, PLAIN).problems}
    assert "wrong signature" in reasons[30]


def test_a_reader_sees_one_state_of_the_store(store: Path) -> None:
    with reading(store) as connection:
        before = connection.scalar(select(func.count()).select_from(RECORDS))
        damage(store, lambda other: other.execute(delete(RECORDS).where(RECORDS.c.seq == 32)))
        assert connection.scalar(select(func.count()).select_from(RECORDS)) == before


def test_a_changed_checkpoint_has_no_signature(store: Path) -> None:
    with (store.parent / WITNESS).open("rb") as file:
        checkpoint = decode_checkpoint(file.readline())
    assert is_genuine(checkpoint)
    later = msgspec.structs.replace(checkpoint.statement, seq=checkpoint.statement.seq + 1)
    assert not is_genuine(msgspec.structs.replace(checkpoint, statement=later))


def test_records_that_are_said_to_be_archived_need_a_checkpoint(store: Path) -> None:
    def work(connection: Connection) -> None:
        boundary = row(connection, 7)
        values = {"last_seq": 7, "first_seq": 1, "hash": boundary.hash, "time": "", "file": ""}
        connection.execute(insert(SEGMENTS).values(**values))
        connection.execute(delete(RECORDS).where(RECORDS.c.seq <= 7))

    damage(store, work)
    assert bad(store) == [7]


@pytest.mark.parametrize(
    ("column", "value"),
    [("is_valid", False), ("identifier", "other.example"), ("time", "2027-01-01T00:00:00.000000Z"), ("quorum", None)],
)
def test_a_changed_index_is_seen_by_deep_alone(store: Path, column: str, value: object) -> None:
    damage(store, lambda connection: put(connection, 9, **{column: value}))
    assert bad(store) == []
    assert bad(store, Scope(deep=True)) == [9]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.replace(b'"br_section":', b'"br_section": '),
        lambda record: record.replace(b'"elapsed_us":23456', b'"elapsed_us":23456.5'),
        lambda record: record.replace(b'"offset_us":12', b'"offset_us":9007199254740992'),
    ],
)
def test_what_is_not_canonical_is_seen_by_deep(store: Path, spoil: Callable[[bytes], bytes]) -> None:
    def work(connection: Connection) -> None:
        before = Link(0, GENESIS)
        for entry in connection.execute(select(RECORDS).order_by(RECORDS.c.seq)).all():
            record = spoil(entry.record) if entry.seq == 9 else entry.record
            before = link(before, record)
            put(connection, entry.seq, record=record, hash=before.hash)
        connection.execute(delete(CHECKPOINTS))

    damage(store, work)
    assert bad(store) == []
    assert set(bad(store, Scope(deep=True))) == {9}


def spoil_observation(record: DecisionRecord) -> DecisionRecord:
    observation = msgspec.structs.replace(record.remotes[0].observation, outcome=Outcome.MISMATCH, corroborates=False)
    spoiled = msgspec.structs.replace(record.remotes[0], observation=observation)
    return msgspec.structs.replace(record, remotes=(spoiled, *record.remotes[1:]))


def drop_a_remote(record: DecisionRecord) -> DecisionRecord:
    return msgspec.structs.replace(record, remotes=record.remotes[:-1])


def spoil_policy_date(record: DecisionRecord) -> DecisionRecord:
    verdict = msgspec.structs.replace(record.verdict, policy_date="2026-12-01")
    return msgspec.structs.replace(record, verdict=verdict)


def with_failure(said: ServerSaid, **others: Any) -> Callable[[DecisionRecord], DecisionRecord]:
    """A remote that matched by a look-up failure, of which this is what the name server said."""
    asked = tuple(ServerAsked(number, "192.0.9.1", "CAA", said) for number in (1, 2))
    failure = LookupFailure("n.example", True, "example", True, "", cause="caa.servers-fail", servers=asked)
    failure = msgspec.structs.replace(failure, **others)

    def change(record: DecisionRecord) -> DecisionRecord:
        finding = CaaFinding(True, None, (), "", lookup_failure=failure)
        observation = msgspec.structs.replace(record.remotes[0].observation, caa=finding)
        return msgspec.structs.replace(
            record, remotes=(msgspec.structs.replace(record.remotes[0], observation=observation), *record.remotes[1:])
        )

    return change


def test_a_failure_that_does_not_permit_is_seen_by_replay(store: Path) -> None:
    older: dict[str, Any] = {"cause": "", "servers": ()}
    for change, is_seen in (
        (with_failure(ServerSaid.ERROR), False),
        (with_failure(ServerSaid.ERROR, **older), False),
        (with_failure(ServerSaid.ERROR, outside=False), True),
        (with_failure(ServerSaid.ERROR, servers=()), True),
        (with_failure(ServerSaid.ANSWER), True),
        (with_failure(ServerSaid.SILENT), True),
    ):
        rewrite_from(store, 9, change)
        found = [one.reason for one in verify_store(store, FULL).problems if "does not permit" in one.reason]
        assert bool(found) is is_seen


@pytest.mark.parametrize("change", [flip_verdict, spoil_observation, drop_a_remote, spoil_policy_date])
def test_a_decision_that_its_observations_do_not_give_is_seen_by_replay(
    store: Path, change: Callable[[DecisionRecord], DecisionRecord]
) -> None:
    rewrite_from(store, 9, change)
    found = {problem.seq for problem in verify_store(store, FULL).problems if "replay" in problem.reason}
    # From 9 on the hashes differ; 1, which holds the perspective set, is untouched.
    assert found == {9}


def test_a_perspective_set_that_was_changed_is_seen_by_replay(store: Path) -> None:
    damage(store, lambda connection: put(connection, 1, hash=bytes(32)))
    reasons = {problem.seq: problem.reason for problem in verify_store(store, FULL).problems}
    assert "perspective set" in reasons[3]
