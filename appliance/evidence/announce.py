"""What the journal hears of the evidence. The identifiers are those of packaging/journal/mpic.catalog, and never change."""

from __future__ import annotations

from typing import Protocol

from appliance.evidence.checkpoint import Checkpoint
from appliance.evidence.record import Attempt, DecisionRecord, EventRecord, EventType, EvidenceRecord, Receipt
from appliance.evidence.replay import counts
from appliance.linux.journal import ALERT, INFO, NOTICE, WARNING, Journal, Message

CORROBORATED_ID = "dc2674657c9540e88711a446c12d600a"
REFUSED_ID = "4924f6471f8f4536af2f8c24281d89ea"
EVENT_ID = "4b9a4fd94e0349a7bd10e5332923b0aa"
CHECKPOINT_ID = "1679919810284106a45de92a6c105e3a"
UNAVAILABLE_ID = "b5c22e5d464f4942992149e30662c329"
AVAILABLE_ID = "a653ca184abb44a6a611db490b437cfb"

_WARNINGS = frozenset({EventType.PROOF_FAILURE, EventType.VERDICT_CHANGE, EventType.RESTORE, EventType.CLOCK_ACCEPTED})

Fields = tuple[tuple[str, str], ...]


class Announcer(Protocol):
    """Hears of what the writer did, on the writer's thread; must not block."""

    def record(self, record: EvidenceRecord, receipt: Receipt) -> None:
        """`record` is durable."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """`checkpoint` was made."""

    def unavailable(self, reason: str) -> None:
        """Records can no longer be made durable: decisions are refused."""

    def available(self) -> None:
        """Records can be made durable again."""


class JournalAnnouncer:
    """Tells the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def record(self, record: EvidenceRecord, receipt: Receipt) -> None:
        """One message for each record."""
        self._journal.send(message_of(record, receipt))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """The whole checkpoint, so that the journal is a witness."""
        statement = checkpoint.statement
        fields = (
            ("MPIC_SEQ", str(statement.seq)),
            ("MPIC_HASH", statement.hash),
            ("MPIC_TIME", statement.time),
            ("MPIC_KEY", statement.key),
            ("MPIC_SIGNATURE", checkpoint.signature),
        )
        text = f"checkpoint of evidence at record {statement.seq}, hash {statement.hash}"
        self._journal.send(Message(CHECKPOINT_ID, NOTICE, text, fields))

    def unavailable(self, reason: str) -> None:
        """An alert."""
        text = f"evidence cannot be written, decisions are refused: {reason}"
        self._journal.send(Message(UNAVAILABLE_ID, ALERT, text, (("MPIC_REASON", reason),)))

    def available(self) -> None:
        """The end of the alert."""
        self._journal.send(Message(AVAILABLE_ID, NOTICE, "evidence can be written again"))


def message_of(record: EvidenceRecord, receipt: Receipt) -> Message:
    """The message that tells of `record`."""
    place = (("MPIC_SEQ", str(receipt.seq)), ("MPIC_HASH", receipt.hash))
    return _of_decision(record, place) if isinstance(record, DecisionRecord) else _of_event(record, place)


def _of_decision(record: DecisionRecord, place: Fields) -> Message:
    verdict = record.verdict
    word = "corroborated" if verdict.is_valid else "refused"
    name = ("*." if record.identifier.wildcard else "") + record.identifier.value
    attempts = ([record.primary] if record.primary else []) + list(record.remotes)
    fields = (
        *place,
        ("MPIC_DECISION", word),
        ("MPIC_IDENTIFIER", record.identifier.value),
        ("MPIC_METHOD", record.method.value),
        ("MPIC_QUORUM", verdict.quorum),
        ("MPIC_PRIMARY", "passed" if verdict.primary_passed else "failed"),
        ("MPIC_BR_SECTION", record.br_section),
        ("MPIC_TRACE_ID", record.request.trace_id),
        ("MPIC_CALLER", record.request.caller),
        *_perspectives(attempts),
        *(("MPIC_REASON", reason) for reason in verdict.reasons),
    )
    because = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
    text = f"{word} {record.method.value} {name} {verdict.quorum}{because}"
    return Message(
        CORROBORATED_ID if verdict.is_valid else REFUSED_ID, INFO if verdict.is_valid else NOTICE, text, fields
    )


def _perspectives(attempts: list[Attempt]) -> Fields:
    """Every perspective; and again, under another name, those that did not corroborate."""
    everyone = [("MPIC_PERSPECTIVE", attempt.perspective) for attempt in attempts]
    return (
        *everyone,
        *(("MPIC_NON_CORROBORATION", attempt.perspective) for attempt in attempts if not counts(attempt)),
    )


def _of_event(record: EventRecord, place: Fields) -> Message:
    text = " ".join(filter(None, (f"{record.type.value}:", record.subject, record.message)))
    fields = [
        *place,
        ("MPIC_EVENT", record.type.value),
        ("MPIC_SUBJECT", record.subject),
        ("MPIC_ACTOR_UID", str(record.actor.uid)),
        ("MPIC_ACTOR_LOGIN", record.actor.login),
        *(
            (f"MPIC_FACT_{name.upper()}", value)
            for name, value in record.facts
            if name.isidentifier() and name.isascii()
        ),
    ]
    optional = (("MPIC_TRACE_ID", record.trace_id), ("MPIC_IDENTIFIER", record.identifier))
    fields += [(name, value) for name, value in optional if value is not None]
    if record.observation is not None:
        fields.append(("MPIC_PERSPECTIVE", record.observation.perspective))
    return Message(EVENT_ID, WARNING if record.type in _WARNINGS else NOTICE, text, tuple(fields))
