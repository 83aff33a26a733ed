"""Straight-line distance between perspectives: the WGS-84 geodesic (BR 1.6.1 "distinct": at least 500 km)."""

from __future__ import annotations

from geographiclib.geodesic import Geodesic

from appliance.model.place import Place

DISTINCT_METRES = 500_000


def geodesic_metres(one: Place, other: Place) -> int:
    """Whole metres between two places, rounded down: a pair must not become distinct by rounding."""
    inverse = Geodesic.WGS84.Inverse(
        one.latitude_udeg / 1e6,
        one.longitude_udeg / 1e6,
        other.latitude_udeg / 1e6,
        other.longitude_udeg / 1e6,
        Geodesic.DISTANCE,
    )
    return int(inverse["s12"])
