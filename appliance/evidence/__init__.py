"""What is kept: durable, whole, tamper-evident records (BR 5.4.1)."""

from appliance.evidence.actor import actor_of
from appliance.evidence.perspectives import fleet_in, perspective_set_of
from appliance.evidence.record import (
    Actor,
    Arrival,
    Attempt,
    CallerStatement,
    DecisionRecord,
    Distance,
    EventRecord,
    EventType,
    EvidenceRecord,
    InForce,
    PerspectiveSet,
    PerspectiveSetRef,
    Receipt,
    ReceivedRequest,
    Software,
    utc_text,
)
from appliance.evidence.writer import EvidenceWriter

__all__ = [
    "Actor",
    "Arrival",
    "Attempt",
    "CallerStatement",
    "DecisionRecord",
    "Distance",
    "EventRecord",
    "EventType",
    "EvidenceRecord",
    "EvidenceWriter",
    "InForce",
    "PerspectiveSet",
    "PerspectiveSetRef",
    "Receipt",
    "ReceivedRequest",
    "Software",
    "actor_of",
    "fleet_in",
    "perspective_set_of",
    "utc_text",
]
