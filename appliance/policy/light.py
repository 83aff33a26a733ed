"""What round-trip times allow of a place, since nothing travels faster than light in fibre. Pure.

A reply that came back through the tunnel went appliance -> hand-off point -> anchor and the same way back. Two bounds
follow, and nobody on the way can make either of them too small by delaying packets at random:

- **whole way**: from the appliance over the hand-off point to the anchor is at most half the round trip at the speed of
  light (an ellipse). It needs no word of the egress node.
- **beyond the tunnel**: what remains when the tunnel's own part is subtracted (a disc around the anchor). The tunnel's part
  is measured apart, as its *smallest* time, which noise can only make too large; so `TUNNEL_GUARD_US` less than that is
  subtracted. It holds as long as the node answers its inner address at once, which a misplaced node of the operator's own
  does; a node in an attacker's hands is not what it is about.

All arithmetic is in whole metres and microseconds, always rounded so that a place is rather allowed than not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from appliance.model.place import Place
from appliance.policy.distance import DISTINCT_METRES, geodesic_metres

# 200 km/ms, light in fibre: a round trip of one microsecond reaches 100 m far and back.
METRES_PER_ROUND_TRIP_US = 100
TUNNEL_GUARD_US = 5_000
# A configured place is a city's coordinates; the machine stands somewhere around.
COORDINATES_METRES = 25_000


@dataclass(frozen=True, slots=True)
class Timed:
    """One anchor's authenticated reply. `rtt_us`: the whole round trip; `tunnel_us`: the tunnel's smallest, 0 for none."""

    anchor: str
    place: Place
    rtt_us: int
    tunnel_us: int

    @property
    def whole_metres(self) -> int:
        """How far light gets in half the round trip."""
        return self.rtt_us * METRES_PER_ROUND_TRIP_US

    @property
    def beyond_metres(self) -> int:
        """How far light gets in half of what remains beyond the tunnel."""
        return max(0, self.rtt_us - max(0, self.tunnel_us - TUNNEL_GUARD_US)) * METRES_PER_ROUND_TRIP_US


@dataclass(frozen=True, slots=True)
class Disc:
    """All places within `radius_metres` of `around`."""

    around: Place
    radius_metres: int


@lru_cache(maxsize=16384)
def metres(one: Place, other: Place) -> int:
    """`geodesic_metres`, remembered."""
    return geodesic_metres(one, other)


def contradictions(claimed: Place, appliance: Place | None, timed: Iterable[Timed]) -> Iterator[str]:
    """Each way in which the replies say that the hand-off point is not at `claimed`, in words; nothing where they allow it.

    `appliance`: where the worker is, None where that is not known, or where there is no tunnel.
    """
    for one in timed:
        way = metres(claimed, one.place) + (0 if appliance is None else metres(appliance, claimed))
        if way > one.whole_metres + 4 * COORDINATES_METRES:
            yield (
                f"anchor {one.anchor} in {one.place.city} answered in {_ms(one.rtt_us)}; over {claimed.city} light needs "
                f"{_ms(way // METRES_PER_ROUND_TRIP_US)}"
            )
        elif metres(claimed, one.place) > one.beyond_metres + 2 * COORDINATES_METRES:
            yield (
                f"anchor {one.anchor} in {one.place.city} answered in {_ms(one.rtt_us)}, of which the tunnel takes "
                f"{_ms(one.tunnel_us)}: the hand-off point is within {one.beyond_metres // 1000} km of it, "
                f"{claimed.city} is {metres(claimed, one.place) // 1000} km away"
            )


def region(appliance: Place | None, timed: Iterable[Timed]) -> tuple[Disc, ...]:
    """Discs that each contain the hand-off point; it is in all of them.

    An ellipse lies in a disc around each of its foci: `p` with d(A,p) + d(p,a) <= s has d(p,a) <= (s + d(A,a)) / 2.
    """
    discs = []
    for one in timed:
        beyond, whole = one.beyond_metres + 2 * COORDINATES_METRES, one.whole_metres + 4 * COORDINATES_METRES
        if appliance is None:
            discs.append(Disc(one.place, min(beyond, whole)))
            continue
        # One metre more, since distances are rounded down and the sum is halved.
        bound = (whole + metres(appliance, one.place) + 1) // 2 + 1
        discs += [Disc(one.place, min(beyond, bound)), Disc(appliance, bound)]
    return tuple(discs)


def at_least_metres(one: tuple[Disc, ...], other: tuple[Disc, ...]) -> int:
    """How far apart two hand-off points are at least, by the triangle inequality over each two discs."""
    return max(
        (metres(a.around, b.around) - a.radius_metres - b.radius_metres for a in one for b in other),
        default=0,
    )


def at_most_metres(one: tuple[Disc, ...], other: tuple[Disc, ...]) -> int | None:
    """How far apart two hand-off points are at most, in the same way; None where nothing is known of one of them."""
    return min(
        (metres(a.around, b.around) + 1 + a.radius_metres + b.radius_metres for a in one for b in other),
        default=None,
    )


def distinct_for_sure(one: tuple[Disc, ...], other: tuple[Disc, ...]) -> bool:
    """Whether the two are at least 500 km apart (BR 1.6.1) wherever in their regions they are."""
    return at_least_metres(one, other) >= DISTINCT_METRES


def too_close_for_sure(one: tuple[Disc, ...], other: tuple[Disc, ...]) -> bool:
    """Whether the two are less than 500 km apart wherever in their regions they are."""
    most = at_most_metres(one, other)
    return most is not None and most < DISTINCT_METRES


def _ms(us: int) -> str:
    return f"{us / 1000:.1f} ms"
