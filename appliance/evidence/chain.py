"""The chain of hashes over the records: pure functions of bytes.

The hash of a record is SHA-256 over the hash before it (32 bytes; zeros before the first record), the record's number
(8 bytes, big-endian; the first is 1) and its canonical bytes. So neither text, order nor number can change unseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """How far a chain goes: the number and the hash of its last record. `Link(0, GENESIS)` is the empty chain."""

    seq: int
    hash: bytes


START = Link(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as stored."""

    seq: int
    record: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not hold: the first record that is changed, missing or out of place, and why it is thought so."""

    seq: int
    reason: str


def link(before: Link, record: bytes) -> Link:
    """The chain with one more record."""
    seq = before.seq + 1
    digest = sha256(before.hash)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(record)
    return Link(seq, digest.digest())


def follow(before: Link, entry: Entry) -> Link | Break:
    """One step of verification: the chain with `entry`, or why `entry` cannot be the record after `before`."""
    expected = before.seq + 1
    if entry.seq > expected:
        last = entry.seq - 1
        return Break(expected, "missing" if last == expected else f"missing, and all up to {last}")
    if entry.seq < expected:
        return Break(entry.seq, f"out of order: it follows record {before.seq}")
    after = link(before, entry.record)
    if after.hash != entry.hash:
        return Break(entry.seq, "changed, or not the record that was written in this place")
    return after


def verify(entries: Iterable[Entry], before: Link = START) -> Link | Break:
    """The end of the chain that `entries` continue from `before`, or its first break. Holds one entry at a time."""
    for entry in entries:
        step = follow(before, entry)
        if isinstance(step, Break):
            return step
        before = step
    return before
