"""The perspective set as evidence: what the distances and regions of decisions were counted with."""

from __future__ import annotations

from itertools import combinations
from types import MappingProxyType

from appliance.evidence.record import Distance, PerspectiveSet
from appliance.policy.fleet import Fleet


def perspective_set_of(fleet: Fleet) -> PerspectiveSet:
    """What is recorded of `fleet`, each pair once."""
    sites = (fleet.primary, *fleet.remotes)
    pairs = [(one.code, other.code) for one, other in combinations(sites, 2)]
    return PerspectiveSet(fleet.primary, fleet.remotes, tuple(Distance(*pair, fleet.metres[pair]) for pair in pairs))


def fleet_in(recorded: PerspectiveSet) -> Fleet:
    """The fleet as recorded: the distances are those that were in force, not computed anew."""
    metres: dict[tuple[str, str], int] = {}
    for pair in recorded.distances:
        metres[pair.one, pair.other] = metres[pair.other, pair.one] = pair.distance_m
    return Fleet(recorded.primary, recorded.remotes, MappingProxyType(metres))
