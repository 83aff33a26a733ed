"""What travels on the channel. A frame is a 4-byte big-endian length and one JSON object with the tag `type`."""

from __future__ import annotations

import msgspec

from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.observation import Observation

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


ToWorker = Ask | Cancel
FromWorker = Seen | Status
