"""Whose claimed place is contradicted, judged over all perspectives at once: egress nodes are anchors of each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from appliance.model.place import Place
from appliance.model.proof import Apartness, Measured
from appliance.policy.fleet import Pair
from appliance.policy.light import Disc, Timed, contradictions, distinct_for_sure, region, too_close_for_sure

LEAST_ANCHORS = 3


@dataclass(frozen=True, slots=True)
class Claims:
    """What is configured. `sites`: each perspective's claimed place. `trusted`: configured anchors by name, which stand where
    the operator says. `appliance`: the place of the primary where that is local; `primary`: its code."""

    sites: Mapping[str, Place]
    trusted: Mapping[str, Place]
    primary: str
    appliance: Place | None


@dataclass(frozen=True, slots=True)
class PlaceVerdict:
    """`against`: what contradicts the claim; empty where nothing does. `anchors`: those whose replies counted.

    `region`: discs that contain the hand-off point, from configured anchors alone, since a perspective's place is a claim.
    """

    against: tuple[str, ...]
    anchors: tuple[str, ...]
    region: tuple[Disc, ...]

    @property
    def enough(self) -> bool:
        """Whether so many anchors answered that silence would have been a contradiction missed."""
        return len(self.anchors) >= LEAST_ANCHORS


def judge_places(claims: Claims, measured: Mapping[str, Measured]) -> dict[str, PlaceVerdict]:
    """The verdict of every perspective that has measured anything.

    First by the configured anchors. Then perspectives whose times to each other contradict both claims: one of the two lies,
    and the one with the most such conflicts is held to be it, again and again until none is left; both, where that is even.
    """
    against = {code: _by_trusted(claims, code, seen) for code, seen in measured.items()}
    if against.get(claims.primary):
        # Where the appliance itself is contradicted, nothing can be measured from its place.
        claims = Claims(claims.sites, claims.trusted, claims.primary, None)
        against = {code: _by_trusted(claims, code, seen) for code, seen in measured.items()}
    accused = {code for code, lines in against.items() if lines}
    conflicts = _conflicts(claims, measured, accused)
    while conflicts:
        counted = {code: sum(code in pair for pair in conflicts) for pair in conflicts for code in pair}
        liars = {code for code, count in counted.items() if count == max(counted.values())}
        for pair, text in conflicts.items():
            for code in liars.intersection(pair):
                against[code] = (*against.get(code, ()), text)
        accused |= liars
        conflicts = {pair: text for pair, text in conflicts.items() if not liars.intersection(pair)}
    return {
        code: PlaceVerdict(
            against[code],
            tuple(one.anchor for one in seen.round_trips if one.anchor in claims.trusted or one.anchor not in accused),
            region(_appliance_for(claims, code), _timed(claims.trusted, seen)),
        )
        for code, seen in measured.items()
    }


def judge_pairs(claims: Claims, verdicts: Mapping[str, PlaceVerdict]) -> dict[Pair, Apartness]:
    """Of every pair of perspectives, keyed both ways, whether they are 500 km apart."""
    found: dict[Pair, Apartness] = {}
    for one, other in combinations(claims.sites, 2):
        found[one, other] = found[other, one] = _pair(verdicts.get(one), verdicts.get(other))
    return found


def _pair(one: PlaceVerdict | None, other: PlaceVerdict | None) -> Apartness:
    known = [verdict for verdict in (one, other) if verdict is not None]
    if any(verdict.against for verdict in known):
        return Apartness.CONTRADICTED
    if one is None or other is None:
        return Apartness.CONSISTENT
    if too_close_for_sure(one.region, other.region):
        return Apartness.CONTRADICTED
    return Apartness.PROVEN if distinct_for_sure(one.region, other.region) else Apartness.CONSISTENT


def _by_trusted(claims: Claims, code: str, seen: Measured) -> tuple[str, ...]:
    return tuple(contradictions(claims.sites[code], _appliance_for(claims, code), _timed(claims.trusted, seen)))


def _conflicts(claims: Claims, measured: Mapping[str, Measured], accused: set[str]) -> dict[tuple[str, str], str]:
    """By pair of perspectives that nothing else speaks against, what their times to each other contradict."""
    found: dict[tuple[str, str], str] = {}
    for code, seen in measured.items():
        if code in accused:
            continue
        peers = {peer: place for peer, place in claims.sites.items() if peer not in accused and peer != code}
        for timed in _timed(peers, seen):
            for text in contradictions(claims.sites[code], _appliance_for(claims, code), [timed]):
                pair = (min(code, timed.anchor), max(code, timed.anchor))
                found.setdefault(pair, f"from {code}: {text}")
    return found


def _appliance_for(claims: Claims, code: str) -> Place | None:
    """The primary has no tunnel: what it measures begins at its own place."""
    return None if code == claims.primary else claims.appliance


def _timed(places: Mapping[str, Place], seen: Measured) -> list[Timed]:
    return [
        Timed(one.anchor, places[one.anchor], one.smallest_us, seen.tunnel_us)
        for one in seen.round_trips
        if one.anchor in places
    ]
