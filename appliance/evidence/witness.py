"""What others keep of a chain, checkpoints and receipts, against the store: finds a cut tail and a rewritten chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from appliance.errors import UNDECODABLE
from appliance.evidence.chain import Link
from appliance.evidence.checkpoint import Checkpoint, decode_checkpoint, is_genuine
from appliance.evidence.reading import checkpoints
from appliance.evidence.record import Receipt
from appliance.evidence.schema import RECORDS

MAX_LINE_BYTES = 1 << 20
# Of SQLite's integers; `int()` refuses a text of thousands of digits with an error of its own.
_MAX_DIGITS = 18

Found = tuple[int, str]


@dataclass(frozen=True, slots=True)
class WitnessFile:
    """A file as far as it went when the verification began: the store is read as it was then, too."""

    path: Path
    size_bytes: int


def witness_file(path: Path) -> WitnessFile:
    """`path` as it is now. Raises `OSError`."""
    return WitnessFile(path, path.stat().st_size)


class Witness:
    """Looks up what the store has under a number. `checkpoints`, `receipts`: how many were held against it.

    `base`: where the store's own records begin; `head`: where they end.
    """

    def __init__(self, connection: Connection, base: Link, head: Link) -> None:
        self.connection = connection
        self.base = base
        self.head = head
        self.checkpoints = 0
        self.receipts = 0

    def against(self, seq: int, hash_hex: str, what: str) -> Iterator[Found]:
        """What is wrong with record `seq` if `what` is right that its hash is this. Archived records are not looked at."""
        if seq < self.base.seq:
            return
        if seq > self.head.seq:
            yield seq, f"missing: the chain ends with record {self.head.seq}, {what} says that there was more"
            return
        stored = (
            self.base.hash
            if seq == self.base.seq
            else self.connection.scalar(select(RECORDS.c.hash).where(RECORDS.c.seq == seq))
        )
        if stored is None:
            yield seq, f"missing, {what} says that it was there"
        elif stored.hex() != hash_hex.lower():
            yield seq, f"not what {what} says: the chain was rewritten at or before it"


def checkpoint_problems(witness: Witness, trusted: frozenset[str], files: Sequence[WitnessFile]) -> Iterator[Found]:
    """The store's own checkpoints, and those of `files` (one JSON object a line), by the `trusted` keys."""
    base = witness.base.seq
    witnessed = base == 0
    try:
        for seq, checkpoint in checkpoints(witness.connection):
            witnessed = witnessed or seq == base
            if seq != checkpoint.statement.seq:
                yield seq, f"the checkpoint kept under it is one of record {checkpoint.statement.seq}"
            yield from _one_checkpoint(witness, checkpoint, trusted, "the store's checkpoint")
    except UNDECODABLE as error:
        yield 0, f"a checkpoint of the store cannot be parsed: {error}"
    if not witnessed:
        yield base, "the store begins after it, and no checkpoint says that it was archived"
    for file in files:
        for number, line in _lines(file):
            try:
                checkpoint = decode_checkpoint(line)
            except UNDECODABLE as error:
                yield 0, f"{file.path}:{number}: no checkpoint: {error}"
                continue
            if not _is_number(checkpoint.statement.seq):
                yield 0, f"{file.path}:{number}: no checkpoint: it is of record {checkpoint.statement.seq}"
                continue
            yield from _one_checkpoint(witness, checkpoint, trusted, f"the checkpoint {file.path}:{number}")


def _one_checkpoint(witness: Witness, checkpoint: Checkpoint, trusted: frozenset[str], what: str) -> Iterator[Found]:
    witness.checkpoints += 1
    statement = checkpoint.statement
    if not is_genuine(checkpoint):
        yield statement.seq, f"{what} has a wrong signature"
    elif trusted and statement.key not in trusted:
        yield statement.seq, f"{what} is signed with another key ({statement.key})"
    else:
        yield from witness.against(statement.seq, statement.hash, what)


def receipt_problems(witness: Witness, files: Sequence[WitnessFile]) -> Iterator[Found]:
    """The receipts in `files`: each line `SEQ HASH`, or a JSON object that has `seq` and `hash`, at the top or in an
    object `receipt` at any depth (an answer as the caller logged it). Other lines are problems: a witness must be whole."""
    for file in files:
        for number, line in _lines(file):
            receipt = receipt_in(line)
            if receipt is None:
                yield 0, f"{file.path}:{number}: no receipt"
                continue
            witness.receipts += 1
            yield from witness.against(receipt.seq, receipt.hash, f"the receipt {file.path}:{number}")


def receipt_in(line: bytes) -> Receipt | None:
    """The receipt on one line of a caller's log."""
    words = line.split()
    if len(words) == 2 and words[0].isdigit() and len(words[0]) <= _MAX_DIGITS:
        number = int(words[0])
        return Receipt(number, words[1].decode("ascii", "replace")) if _is_number(number) else None
    try:
        return _receipt_of(msgspec.json.decode(line))
    except UNDECODABLE:
        return None


def _receipt_of(value: object) -> Receipt | None:
    if isinstance(value, list):
        return next((found for found in map(_receipt_of, value) if found), None)
    if not isinstance(value, dict):
        return None
    nested = value.get("receipt", value)
    if isinstance(nested, dict) and _is_number(nested.get("seq")) and isinstance(nested.get("hash"), str):
        return Receipt(nested["seq"], nested["hash"])
    return next((found for found in map(_receipt_of, value.values()) if found), None)


def _is_number(seq: object) -> bool:
    """Whether a record may bear it: the first is 1. A bool is an int to Python, and no number to JSON."""
    return isinstance(seq, int) and not isinstance(seq, bool) and 0 < seq < 10**_MAX_DIGITS


def _lines(file: WitnessFile) -> Iterator[tuple[int, bytes]]:
    with file.path.open("rb") as opened:
        number = 0
        while opened.tell() < file.size_bytes and (line := opened.readline(MAX_LINE_BYTES)):
            number += 1
            if line.strip():
                yield number, line
