"""What a caller asks, already parsed and bounded; which API it came by no longer matters."""

from __future__ import annotations

import msgspec

from appliance.evidence.record import CallerStatement
from appliance.model.check import AnyCheck
from appliance.model.identifier import Identifier


class Orchestration(msgspec.Struct, frozen=True):
    """What the caller asks of the fan-out; None where it leaves that to us. All are counts of at least 0.

    `perspective_count`: remotes to use. `quorum_count`: remotes that must corroborate. `max_attempts`: fresh attempts.
    """

    perspective_count: int | None = None
    quorum_count: int | None = None
    max_attempts: int | None = None


class Question(msgspec.Struct, frozen=True):
    """One request for a decision.

    `trace_identifier`: the caller's, or one of ours where it gave none. `body` is the request's text, whole, for the
    record. `caller` names who asked, as the socket knows it.
    `caller_statement` is set exactly where the caller's systems are the primary network perspective.
    """

    identifier: Identifier
    check: AnyCheck
    orchestration: Orchestration
    trace_identifier: str
    caller_statement: CallerStatement | None
    caller: str
    body: str
