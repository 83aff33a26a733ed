"""Route origin validation as measured from a perspective: what one round saw, and the verdict over many. Integers only."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RpkiState(StrEnum):
    """The validation state of a route (RFC 6811 section 2)."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_FOUND = "not-found"


class ProbeOutcome(StrEnum):
    """`REACHED`: an answer that proves to be the beacon's. `BLOCKED`: silence until the limit, or no route, by the network's
    own word. `AMBIGUOUS`: something else answered or refused (RST, TLS or HTTP error, a page that is not the beacon's).
    `UNRESOLVED`: the beacon's name has no address of the family: nothing was sent."""

    REACHED = "reached"
    BLOCKED = "blocked"
    AMBIGUOUS = "ambiguous"
    UNRESOLVED = "unresolved"


class BeaconKind(StrEnum):
    """`PAIR`: a valid prefix and an invalid one of one operator. `COVER`: an invalid more-specific inside a valid prefix."""

    PAIR = "pair"
    COVER = "cover"


class Target(msgspec.Struct, frozen=True):
    """One address of a beacon, by name. The answer counts if it is a JSON object that has every name in `members`, with the
    value given where it is not None. `address_member`: the member that tells the source address seen; `site_member`: the one
    that names the site; None where there is none. An `https` answer is verified besides."""

    url: str
    members: tuple[tuple[str, str | None], ...] = ()
    address_member: str | None = None
    site_member: str | None = None


class RoundRequest(msgspec.Struct, frozen=True):
    """One round for one perspective: V, I, V over one IP version (4 or 6); with a cover beacon (`valid` None) its one probe.

    `valid_limit_ms`, `invalid_limit_ms`: milliseconds until a probe is given up.
    """

    request_id: str
    perspective: str
    version: int
    invalid: Target
    valid: Target | None
    valid_limit_ms: int
    invalid_limit_ms: int


class Probe(msgspec.Struct, frozen=True):
    """One probe. `address`: where it went, None where the name gave none. `source`, `site`: what the beacon told of them."""

    outcome: ProbeOutcome
    address: str | None
    elapsed_us: int
    detail: str = ""
    source: str | None = None
    site: str | None = None


class RoundSeen(msgspec.Struct, frozen=True):
    """What the worker saw. `before`, `after`: the probes of V, None with a cover beacon. `started_at`: RFC 3339 UTC."""

    request_id: str
    perspective: str
    version: int
    started_at: str
    invalid: Probe
    before: Probe | None = None
    after: Probe | None = None


class RoundResult(StrEnum):
    """What one round says, once it was judged. Only the first four count; the others say why a round does not.

    `LOST`: a V failed, or a cover beacon was silent. `ROA`: the beacon's routes are not in the states they should be in.
    `STALE`: our VRPs are too old to tell. `SOURCE`: the beacon saw another source address than the egress's.
    `UNWITNESSED`: unreachable, and no other perspective that is known to reach the beacon reached it then.
    """

    REACHED = "reached"
    BLOCKED = "blocked"
    COVERED = "covered"
    EXPOSED = "exposed"
    AMBIGUOUS = "ambiguous"
    LOST = "lost"
    ROA = "roa"
    STALE = "stale-vrps"
    SOURCE = "source"
    UNWITNESSED = "unwitnessed"


class Round(msgspec.Struct, frozen=True):
    """One judged round. `at`: RFC 3339 UTC. `witness`: who reached the beacon right after it was unreachable here.

    `controls_lost`: how many of the two probes of V failed.
    """

    at: str
    beacon: str
    operator: str
    kind: BeaconKind
    result: RoundResult
    controls_lost: int = 0
    witness: str | None = None
    address: str | None = None
    detail: str = ""


class RovVerdict(StrEnum):
    """Whether the path of a perspective drops RPKI-invalid routes."""

    FILTERING = "FILTERING"
    NOT_FILTERING = "NOT_FILTERING"
    PARTIAL = "PARTIAL"
    INCONCLUSIVE = "INCONCLUSIVE"


class BeaconGrade(msgspec.Struct, frozen=True):
    """One beacon within a window: counts of its rounds, and in one word what they say (`blocked`, `reached`, `mixed`,
    `covered`, `exposed`, `undecided`, or the reason why its newest round did not count)."""

    beacon: str
    operator: str
    kind: BeaconKind
    says: str
    reached: int
    blocked: int
    ambiguous: int
    discarded: int


class Grade(msgspec.Struct, frozen=True):
    """A verdict with its numbers. `strong`: with FILTERING, a cover beacon confirmed it. `n`: the fewest rounds that any
    pair of those that decided has. With FILTERING: `p_value_ppm`, one-sided Fisher 1/C(2n, n); `bound_ppm`: 95 % upper bound
    on the share of flows that the path lets reach an invalid prefix; both in parts per million, rounded up; else None."""

    verdict: RovVerdict
    strong: bool
    n: int
    p_value_ppm: int | None
    bound_ppm: int | None
    beacons: tuple[BeaconGrade, ...]
    reason: str


class Change(msgspec.Struct, frozen=True):
    """A verdict that came into force at `at` (RFC 3339 UTC); `seq` and `hash` name its record of evidence."""

    at: str
    verdict: RovVerdict
    strong: bool
    reason: str
    seq: int | None = None
    hash: str | None = None


class FamilyStanding(msgspec.Struct, frozen=True):
    """One perspective over one IP version: what is in force, the newest grade, and how many rounds are in the window."""

    version: int
    in_force: Change
    grade: Grade
    rounds: int
    last_round_at: str | None
    history: tuple[Change, ...]


class OwnRoute(msgspec.Struct, frozen=True):
    """The route of an egress's own address against our VRPs (RFC 6811). `prefix` None: no announced prefix is known."""

    address: str
    prefix: str | None
    origin_asn: int | None
    state: RpkiState


class RovStanding(msgspec.Struct, frozen=True):
    """One perspective: its worst family is its `verdict`."""

    perspective: str
    primary: bool
    provider: str
    verdict: RovVerdict
    strong: bool
    families: tuple[FamilyStanding, ...]
    own_routes: tuple[OwnRoute, ...]


class VrpStatus(msgspec.Struct, frozen=True):
    """The VRP export in use. `problem`: why there is none that counts, "" where there is. Ages in seconds."""

    file: str
    count: int
    generated_at: str | None
    age_s: int | None
    max_age_s: int
    problem: str


class BeaconSeen(msgspec.Struct, frozen=True):
    """The newest round over one IP version in which some perspective saw a beacon do what it is there for: with a pair, its
    invalid prefix answered; with a cover, either site did. Its routes had the states that they should have. `at`: RFC 3339
    UTC."""

    version: int
    at: str
    perspective: str


class BeaconStatus(msgspec.Struct, frozen=True):
    """One configured beacon. `last_verified`: ISO date, None = not verified since it was listed. `dead`: IP versions over
    which no perspective that reached it before does now. `seen`: what this appliance itself saw of it, within its windows."""

    name: str
    operator: str
    kind: BeaconKind
    versions: tuple[int, ...]
    source: str
    last_verified: str | None
    dead: tuple[int, ...]
    seen: tuple[BeaconSeen, ...] = ()


class RovReport(msgspec.Struct, frozen=True):
    """`GET /rov`. Times are RFC 3339 UTC."""

    time: str
    version: str
    policy: str
    full_window: int
    vrps: VrpStatus
    beacons: tuple[BeaconStatus, ...]
    perspectives: tuple[RovStanding, ...]
