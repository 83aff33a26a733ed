"""What a worker says of itself and of the path that it sees through its tunnel."""

from __future__ import annotations

import msgspec

from appliance.model.egress import EgressStatus
from appliance.model.proof import Measured


class WorkerStatus(msgspec.Struct, frozen=True):
    """Pushed to the coordinator at connect and on each change.

    `ready`: it may corroborate. `reasons`: why not, each one line. `egress_addresses`: what the outside anchors saw, at
    `anchored_at` (RFC 3339 UTC, None = never). `authenticated_addresses`: those of them that anchors with a verified certificate
    saw; only these prove anything. `path_rtt_us`: last probe of the tunnel's far inner address, None = lost.
    `root_anchor_problem`: why the resolver does not validate the root's keys; None where it does, or nothing is known.
    `confined`: it is in the published namespace, with its own interface alone. `path_up`: the far end answered in at least
    one of the last rounds. `measured`: times to authenticated anchors on the path as it is now, None before there are any.
    `egress`: what the egress node says of itself, None where it said nothing; for people alone.
    """

    perspective: str
    ready: bool
    reasons: tuple[str, ...]
    egress_addresses: tuple[str, ...]
    anchored_at: str | None
    path_rtt_us: int | None
    netns_inode: int
    root_anchor_problem: str | None = None
    confined: bool = True
    path_up: bool = True
    measured: Measured | None = None
    egress: EgressStatus | None = None
    authenticated_addresses: tuple[str, ...] = ()
