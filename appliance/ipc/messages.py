"""What travels on the channel. A frame is a 4-byte big-endian length and one JSON object with the tag `type`."""

from __future__ import annotations

import msgspec

from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.observation import Observation
from appliance.model.rov import RoundRequest, RoundSeen

MAX_FRAME_BYTES = 1 << 20


class Ask(msgspec.Struct, frozen=True, tag_field="type", tag="check"):
    """Coordinator to worker: run this check."""

    request: CheckRequest


class Cancel(msgspec.Struct, frozen=True, tag_field="type", tag="cancel"):
    """Coordinator to worker: nobody waits for this check any more; answer it now with what was seen so far."""

    request_id: str


class Seen(msgspec.Struct, frozen=True, tag_field="type", tag="observation"):
    """Worker to coordinator: the observation of one check. It names its perspective and request itself."""

    observation: Observation


class Status(msgspec.Struct, frozen=True, tag_field="type", tag="status"):
    """Worker to coordinator, at connect and on each change."""

    status: WorkerStatus


class AskRound(msgspec.Struct, frozen=True, tag_field="type", tag="rov-round"):
    """Coordinator to worker: probe this beacon once. It ends itself at its limits and is not cancelled."""

    request: RoundRequest


class SeenRound(msgspec.Struct, frozen=True, tag_field="type", tag="rov-seen"):
    """Worker to coordinator: what one round saw. It names its perspective and request itself."""

    seen: RoundSeen


class RefusedRound(msgspec.Struct, frozen=True, tag_field="type", tag="rov-refused"):
    """Worker to coordinator: nothing was probed, or what was seen does not count, and why."""

    request_id: str
    perspective: str
    reason: str


ToWorker = Ask | Cancel | AskRound
FromWorker = Seen | Status | SeenRound | RefusedRound
