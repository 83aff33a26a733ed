"""What is written of each decision and of each event, as values; `encode` gives the bytes that are hashed and stored.

The bytes are the canonical JSON of RFC 8785. msgspec writes it as it stands because of the rule of `appliance.model`: no
floating-point number and no integer of 2**53 or more occurs, and every key is an ASCII field name (so that the order by
code unit of RFC 8785 section 3.2.3 is the order by byte). No type here has a mapping with keys that come from outside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from appliance.linux.clock import ClockState
from appliance.model.check import AnyCheck, Method
from appliance.model.decision import Verdict
from appliance.model.identifier import Identifier
from appliance.model.observation import Observation
from appliance.model.place import Rir, Site


def utc_text(moment: datetime) -> str:
    """RFC 3339, UTC, always six digits of a second: texts compare as the times do. `moment` must know its zone."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


class ReceivedRequest(msgspec.Struct, frozen=True):
    """The question as it came. `body`: the text of the request, whole, expected challenge values included; what
    authenticates the caller is never in it. `caller`: who asked, as the socket or the certificate names it.
    `received_at`: UTC. `quorum_count`: what the caller asked for above the table's floor."""

    received_at: str
    trace_id: str
    caller: str
    body: str
    quorum_count: int | None = None


class CallerStatement(msgspec.Struct, frozen=True):
    """The caller's own determination, where its systems are the primary network perspective."""

    passed: bool
    detail: str = ""


class InForce(msgspec.Struct, frozen=True):
    """A proof or verdict that held for a perspective when it was asked. `since`: UTC, when it was found.

    `seq` and `hash` name the event record that has it in full, where there is one."""

    verdict: str
    since: str
    seq: int | None = None
    hash: str | None = None


class Arrival(StrEnum):
    """How an attempt ended. Only `IN_TIME` can corroborate.

    `LATE`: cut off at the deadline. `UNREACHABLE`: the tunnel or its worker was down, nothing was sent. `FAULTY`: the
    reply named another perspective or request, or could not be read.
    """

    IN_TIME = "in-time"
    LATE = "late"
    UNREACHABLE = "unreachable"
    FAULTY = "faulty"


class Attempt(msgspec.Struct, frozen=True):
    """One perspective's part (BR 5.4.1). `observation` is the one that counted; where none arrived, the coordinator's own,
    an error that says so. `rejected`: the text of a reply that did not count, clipped. `withheld`: why a match does not
    count although it arrived in time (a proof or a policy of the operator's), None where nothing stands against it."""

    perspective: str
    rir: Rir
    arrival: Arrival
    observation: Observation
    rejected: str | None = None
    withheld: str | None = None
    hand_off: InForce | None = None
    rov: InForce | None = None


class PerspectiveSetRef(msgspec.Struct, frozen=True):
    """Names the event record that holds the sites and distances in force."""

    seq: int
    hash: str


class Software(msgspec.Struct, frozen=True):
    """What decided: the product's version and the SHA-256 (hex) of the configuration file that it runs with."""

    version: str
    configuration_sha256: str


class DecisionRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="decision"):
    """One answered question, whole (BR 5.4.1 (2), (7), (8)). `time`: UTC, when it was decided.

    `warnings`: those of the answer, such as that nothing held the clock. Exactly one of `primary` and `caller_statement` is set.
    `remotes` has every remote perspective attempted.
    """

    time: str
    request: ReceivedRequest
    identifier: Identifier
    method: Method
    check: AnyCheck
    br_section: str
    br_version: str
    verdict: Verdict
    primary: Attempt | None
    caller_statement: CallerStatement | None
    remotes: tuple[Attempt, ...]
    perspective_set: PerspectiveSetRef
    software: Software
    clock: ClockState
    warnings: tuple[str, ...] = ()


class EventType(StrEnum):
    """What else is recorded."""

    START = "start"
    STOP = "stop"
    CONFIGURATION = "configuration"
    PERSPECTIVE_SET = "perspective-set"
    DRAIN = "drain"
    RESUME = "resume"
    KEY_ROTATION = "key-rotation"
    PROOF = "proof"
    PROOF_FAILURE = "proof-failure"
    VERDICT_CHANGE = "verdict-change"
    REFUSED_REQUEST = "refused-request"
    LATE_OBSERVATION = "late-observation"
    REFUSED_CALLER = "refused-caller"
    CREDENTIAL = "credential"
    PERSPECTIVE_CHECK = "perspective-check"
    PRUNE = "prune"
    CLOCK_ACCEPTED = "clock-accepted"
    RESTORE = "restore"


class Actor(msgspec.Struct, frozen=True):
    """Who did it: the user id of the calling process and the login of that user, "" where it has none."""

    uid: int
    login: str


class Distance(msgspec.Struct, frozen=True):
    """Whole metres between two perspectives (BR 1.6.1 "distinct")."""

    one: str
    other: str
    distance_m: int


class PerspectiveSet(msgspec.Struct, frozen=True):
    """The sites that decisions count with, the primary apart, and the distance of every pair."""

    primary: Site
    remotes: tuple[Site, ...]
    distances: tuple[Distance, ...]


class EventRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="event"):
    """Something other than a decision. `time`: UTC. `subject`: what it is about (a perspective's code, a file, a field).

    `facts`: further names and values. `identifier`: a domain or IP address, normalised. `observation`: with
    LATE_OBSERVATION. `perspective_set`: with PERSPECTIVE_SET.
    """

    time: str
    type: EventType
    actor: Actor
    subject: str = ""
    message: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    trace_id: str | None = None
    identifier: str | None = None
    observation: Observation | None = None
    perspective_set: PerspectiveSet | None = None


EvidenceRecord = DecisionRecord | EventRecord

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER: msgspec.json.Decoder[EvidenceRecord] = msgspec.json.Decoder(EvidenceRecord)


def encode(record: EvidenceRecord) -> bytes:
    """The canonical bytes (RFC 8785). Raises `UnicodeEncodeError` for a text with a lone surrogate, which has none."""
    return _ENCODER.encode(record)


def decode(canonical: bytes) -> EvidenceRecord:
    """The record in these bytes. Raises one of `appliance.errors.UNDECODABLE` where there is none."""
    return _DECODER.decode(canonical)


class Receipt(msgspec.Struct, frozen=True):
    """Proof for the caller that a record is durable: its number and its hash (hex) in this appliance's chain."""

    seq: int
    hash: str
