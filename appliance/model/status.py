"""What the operators' socket tells of the appliance: the JSON of `GET /status` and of `GET /perspectives`."""

from __future__ import annotations

import msgspec

from appliance.model.decision import Row
from appliance.model.health import WorkerStatus
from appliance.model.observation import Outcome
from appliance.model.place import Place, Rir
from appliance.model.proof import Apartness, PerspectiveProofs
from appliance.model.tunnel import TunnelStatus


class Neighbour(msgspec.Struct, frozen=True):
    """The nearest other perspective, and whole metres to it (WGS-84 geodesic)."""

    code: str
    distance_m: int


class LastCheck(msgspec.Struct, frozen=True):
    """The last check that a perspective was asked. `at`: RFC 3339 UTC. `elapsed_us`: microseconds."""

    at: str
    method: str
    identifier: str
    outcome: Outcome
    elapsed_us: int


class Drain(msgspec.Struct, frozen=True):
    """Who took a perspective out of service, and since when (RFC 3339 UTC). `login`: "" where that user has none."""

    since: str
    uid: int
    login: str


class PerspectiveStatus(msgspec.Struct, frozen=True):
    """One perspective now. `ready`: it can be asked; `reason` says why not, "" where it can.

    `provider` is "" for the primary. `handshake_age_s`: seconds since the tunnel's last handshake, None = none or no tunnel.
    `expected_egress_addresses`: as configured, to compare with `worker.egress_addresses`, which the outside saw. `tunnel`
    and `worker` are what those processes say of themselves, None where they say nothing. `drained`: it is asked nothing,
    whatever its health. `healthy`: it could be asked, were it not
    drained. `in_flight`: attempts under way that include it.
    """

    code: str
    primary: bool
    place: Place
    rir: Rir
    provider: str
    nearest: Neighbour
    ready: bool
    reason: str
    expected_egress_addresses: tuple[str, ...]
    handshake_age_s: int | None
    tunnel: TunnelStatus | None
    worker: WorkerStatus | None
    last_check: LastCheck | None
    healthy: bool = True
    drained: Drain | None = None
    in_flight: int = 0


class Readiness(msgspec.Struct, frozen=True):
    """Whether a compliant quorum is possible now; `reasons` says in words why not, and is empty where it is.

    `warnings`: what does not prevent decisions but needs a look.
    """

    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class PolicyStatus(msgspec.Struct, frozen=True):
    """BR 3.2.2.9's dated table: the row of `date` (ISO), the next one, and what the configured set lacks for each."""

    br_version: str
    br_section: str
    date: str
    today: Row
    today_shortfalls: tuple[str, ...]
    next: Row | None
    next_shortfalls: tuple[str, ...]


class ApplianceStatus(msgspec.Struct, frozen=True):
    """`GET /status`. Times are RFC 3339 UTC. `primary_kind`: `local`, or `caller` where the CA states its determination."""

    version: str
    time: str
    started_at: str
    configuration_sha256: str
    readiness: Readiness
    policy: PolicyStatus
    primary_kind: str
    primary: PerspectiveStatus
    perspectives: tuple[PerspectiveStatus, ...]
    perspectives_ready: int
    in_flight: int
    decisions: int


class Distance(msgspec.Struct, frozen=True):
    """Whole metres between two perspectives; `distinct` is BR 1.6.1's 500 km, by the configured places, and `measured` what
    round-trip times say of it."""

    one: str
    other: str
    distance_m: int
    distinct: bool
    measured: Apartness = Apartness.CONSISTENT


class SharedBy(msgspec.Struct, frozen=True):
    """Perspectives with one provider, upstream AS, or country in common. `warning` is "" unless its loss alone refuses
    (`breaks`), or it alone suffices for a quorum (`makes`)."""

    kind: str
    value: str
    codes: tuple[str, ...]
    breaks: bool
    makes: bool
    warning: str


class RirCount(msgspec.Struct, frozen=True):
    """The remotes in one RIR service region."""

    rir: Rir
    codes: tuple[str, ...]


class SiteStatus(msgspec.Struct, frozen=True):
    """One configured perspective; `provider` and `upstreams` are empty for the primary."""

    code: str
    primary: bool
    place: Place
    rir: Rir
    provider: str
    upstreams: tuple[int, ...]
    origin_asn: int | None
    nearest: Neighbour


class PerspectiveSetReport(msgspec.Struct, frozen=True):
    """`GET /perspectives`: the configured set against the BRs, each pair of `distances` once, the primary included.

    `proofs`: the hand-off proofs of every perspective that has a worker.
    """

    sites: tuple[SiteStatus, ...]
    distances: tuple[Distance, ...]
    rirs: tuple[RirCount, ...]
    shared: tuple[SharedBy, ...]
    policy: PolicyStatus
    proofs: tuple[PerspectiveProofs, ...] = ()
