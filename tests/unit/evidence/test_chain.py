"""No change, loss or exchange of records goes unseen, and the first bad record is named."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.evidence.chain import GENESIS, START, Break, Entry, Link, link, verify

RECORDS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=12)


def written(records: list[bytes]) -> list[Entry]:
    entries: list[Entry] = []
    head = START
    for record in records:
        head = link(head, record)
        entries.append(Entry(head.seq, record, head.hash))
    return entries


def broken_at(entries: list[Entry], before: Link = START) -> int | None:
    end = verify(entries, before)
    return end.seq if isinstance(end, Break) else None


def test_the_first_hash_is_what_the_documentation_says() -> None:
    expected = sha256(bytes(32) + (1).to_bytes(8, "big") + b"{}").digest()
    assert link(Link(0, GENESIS), b"{}") == Link(1, expected)


@given(RECORDS)
def test_an_untouched_chain_verifies(records: list[bytes]) -> None:
    entries = written(records)
    assert verify(entries) == Link(len(records), entries[-1].hash)


@given(RECORDS, st.data())
def test_one_changed_byte_is_named(records: list[bytes], data: st.DataObject) -> None:
    entries = written(records)
    at = data.draw(st.integers(0, len(entries) - 1))
    position = data.draw(st.integers(0, len(entries[at].record) - 1))
    changed = bytearray(entries[at].record)
    changed[position] ^= data.draw(st.integers(1, 255))
    entries[at] = Entry(at + 1, bytes(changed), entries[at].hash)
    assert broken_at(entries) == at + 1


@given(RECORDS, st.data())
def test_one_removed_record_is_named(records: list[bytes], data: st.DataObject) -> None:
    entries = written([*records, b"last"])
    at = data.draw(st.integers(0, len(records) - 1))
    del entries[at]
    assert broken_at(entries) == at + 1


@given(RECORDS, st.data())
def test_a_removed_and_renumbered_record_is_named(records: list[bytes], data: st.DataObject) -> None:
    entries = written([*records, b"last"])
    at = data.draw(st.integers(0, len(records) - 1))
    del entries[at]
    renumbered = [Entry(number, entry.record, entry.hash) for number, entry in enumerate(entries, 1)]
    assert broken_at(renumbered) == at + 1


@given(RECORDS, st.data())
def test_two_swapped_records_are_named(records: list[bytes], data: st.DataObject) -> None:
    entries = written([*records, b"last"])
    one, other = sorted(data.draw(st.lists(st.integers(0, len(records)), min_size=2, max_size=2, unique=True)))
    first, second = entries[one], entries[other]
    entries[one] = Entry(first.seq, second.record, second.hash)
    entries[other] = Entry(second.seq, first.record, first.hash)
    assert broken_at(entries) == one + 1


def test_a_rewritten_record_breaks_at_the_next_one() -> None:
    entries = written([b"one", b"two", b"three"])
    rewritten = link(Link(1, entries[0].hash), b"TWO")
    entries[1] = Entry(2, b"TWO", rewritten.hash)
    assert broken_at(entries) == 3


@pytest.mark.parametrize("missing", [2, 3])
def test_a_gap_says_how_far_it_goes(missing: int) -> None:
    entries = written([b"one", b"two", b"three", b"four"])
    end = verify([entries[0], *entries[missing:]])
    assert end == Break(2, "missing" if missing == 2 else "missing, and all up to 3")
