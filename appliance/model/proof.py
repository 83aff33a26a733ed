"""The proofs of a perspective's hand-off point: what a worker measured for them, and what the coordinator makes of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RoundTrip(msgspec.Struct, frozen=True):
    """The smallest time in whole microseconds, rounded up, from the worker to `anchor` and back. Only authenticated
    replies count, so that nobody between could have shortened it. `replies`: how many there were."""

    anchor: str
    smallest_us: int
    replies: int


class Measured(msgspec.Struct, frozen=True):
    """Smallest times over the latest rounds, on one unbroken path. `at`: RFC 3339 UTC, of the last round.

    `tunnel_us`: rounded down, to the egress node's inner address and back; 0 for the primary, which has no tunnel.
    """

    at: str
    rounds: int
    tunnel_us: int
    round_trips: tuple[RoundTrip, ...]


class ProofKind(StrEnum):
    """What is proven. `EXIT_ADDRESS`: the address that authenticated outside anchors see is a configured one. `ORIGIN`: the
    configured AS originates it, and no other does. `PLACE`: no authenticated reply came faster than light allows from the
    claimed place. `CONFINEMENT`: the worker is in the published namespace, which holds `lo` and its tunnel, without
    privileges. `PATH`: packets of full size reach the egress node. `ATTESTATION`: provider and upstreams, on the operator's
    word."""

    EXIT_ADDRESS = "exit-address"
    ORIGIN = "origin"
    PLACE = "place"
    CONFINEMENT = "confinement"
    PATH = "path"
    ATTESTATION = "attestation"


class Result(StrEnum):
    """`MISSING`: it could not be judged, now or in time. `NOT_CONFIGURED`: nobody asks for it; nothing is proven. `EXPIRED`: it
    was attested so long ago that it proves nothing any more."""

    VALID = "valid"
    FAILED = "failed"
    MISSING = "missing"
    NOT_CONFIGURED = "not-configured"
    EXPIRED = "expired"


class Proof(msgspec.Struct, frozen=True):
    """One proof of one perspective. `text` says in words what holds, or what failed. `at`: RFC 3339 UTC or a date, when it
    was last seen so, None = never. `since`: when the result became what it is. `facts`: names and values behind it. `notes`: what
    differs and is no fault."""

    kind: ProofKind
    result: Result
    text: str
    at: str | None = None
    since: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def stands_against(self) -> bool:
        """Whether a perspective with this proof must not corroborate."""
        return self.result in {Result.FAILED, Result.MISSING}


class PerspectiveProofs(msgspec.Struct, frozen=True):
    """Every proof of one perspective. `withheld`: why what it observes does not count, None where it does.

    `since`: when that became so. `seq`, `hash`: the event record that holds it, None until there is one.
    """

    code: str
    withheld: str | None
    since: str
    proofs: tuple[Proof, ...]
    seq: int | None = None
    hash: str | None = None


class Apartness(StrEnum):
    """Of two perspectives: at least 500 km apart by what was measured, not contradicted by it, or not so."""

    PROVEN = "proven"
    CONSISTENT = "consistent"
    CONTRADICTED = "contradicted"
