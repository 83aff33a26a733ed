"""Whether coordinates lie in the country that is stated for them: the country decides the RIR region (BR 3.2.2.9).

The areas come from the npm package `@rapideditor/country-coder` (`packaging/borders.py` makes the file). They include coastal
waters. Imports Python's own library alone: the playbooks read this file by its path, on machines that have no appliance installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

DATA = Path(__file__).parent / "data" / "borders.json"
# Configured coordinates may be rounded, at most to half a degree or so, and the borders are drawn coarsely.
TOLERANCE_METRES = 50_000
# Some areas that touch, at the antimeridian for instance, leave a slit of a metre between them.
_SLIT_METRES = 10
# The mean radius (IUGG). Distances on the sphere are within 0.6 % of those on WGS-84: 300 m at the tolerance.
_RADIUS_METRES = 6_371_008.8
# Edges are straight in degrees, not on the sphere. In pieces of half a degree the two are less than 30 m apart.
_PIECE_DEGREES = 0.5
# How coordinates are mistaken, the likeliest first.
_SLIPS = (
    ("latitude and longitude look swapped", (1, 0), (1, 1)),
    ("the sign of longitude looks wrong", (0, 1), (1, -1)),
    ("the sign of latitude looks wrong", (0, 1), (-1, 1)),
    ("the signs of latitude and longitude look wrong", (0, 1), (-1, -1)),
    ("latitude and longitude look swapped, and a sign wrong", (1, 0), (1, -1)),
    ("latitude and longitude look swapped, and a sign wrong", (1, 0), (-1, 1)),
    ("latitude and longitude look swapped, and both signs wrong", (1, 0), (-1, -1)),
)
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ring:
    """A closed line with its bounds. `numbers`: longitude, latitude, longitude, latitude, ... in degrees."""

    west: float
    south: float
    east: float
    north: float
    numbers: Sequence[float]

    def edges(self) -> Iterator[tuple[float, float, float, float]]:
        """Each edge: longitude and latitude of its ends."""
        numbers = self.numbers
        for at in range(0, len(numbers) - 2, 2):
            yield numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]

    def crossings(self, latitude: float, longitude: float) -> int:
        """How many edges a line from the point due west crosses."""
        if not (self.south <= latitude <= self.north and self.west <= longitude):
            return 0
        return sum(
            (y1 > latitude) != (y2 > latitude) and x1 + (latitude - y1) * (x2 - x1) / (y2 - y1) < longitude
            for x1, y1, x2, y2 in self.edges()
        )


@dataclass(frozen=True, slots=True)
class Area:
    """A piece of land or sea. `codes`: its ISO 3166-1 alpha-2 code, then those of countries that it is a part of."""

    codes: tuple[str, ...]
    rings: tuple[Ring, ...]

    def contains(self, latitude: float, longitude: float) -> bool:
        """Whether the point lies inside, by the even-odd rule: holes are rings, too."""
        return sum(ring.crossings(latitude, longitude) for ring in self.rings) % 2 == 1

    def metres(self, latitude: float, longitude: float) -> float:
        """The distance from a point outside to the nearest border; 0 for a point inside."""
        if self.contains(latitude, longitude):
            return 0.0
        point = _vector(latitude, longitude)
        chord = min(_chord(point, *edge) for ring in self.rings for edge in ring.edges())
        return 2 * _RADIUS_METRES * math.asin(min(1.0, chord / 2))


@dataclass(frozen=True, slots=True)
class Finding:
    """`problem`: why the place must not be used. `warning`: why it needs a look. Both None: nothing is to be said."""

    problem: str | None = None
    warning: str | None = None


class Borders:
    """The areas of all countries, and `regions`: the RIR region of each country code.

    A country's area has those of its territories in the same RIR region: HK counts as CN, too, but RE never as FR. So nobody
    is refused for the word for a territory, and no word can change the region.
    """

    def __init__(self, areas: Sequence[Area], names: Mapping[str, str], regions: Mapping[str, str]) -> None:
        self._names = names
        self._regions = regions
        self._areas = [area for area in areas if area.codes]
        self._by_country: dict[str, list[Area]] = {}
        for area in self._areas:
            for code in area.codes:
                if regions.get(code) == regions.get(area.codes[0]):
                    self._by_country.setdefault(code, []).append(area)

    def countries(self) -> frozenset[str]:
        """Every country code that has an area."""
        return frozenset(self._by_country)

    def at(self, latitude: float, longitude: float) -> tuple[str, ...]:
        """The own codes of the areas around a point; none at high sea."""
        return tuple(dict.fromkeys(area.codes[0] for area in self._areas if area.contains(latitude, longitude)))

    def metres(self, country: str, latitude: float, longitude: float) -> float:
        """How far a point is outside of a country, 0 inside. Raises `KeyError` for a code without an area."""
        return min(area.metres(latitude, longitude) for area in self._by_country[country])

    def compare(self, country: str, latitude: float, longitude: float, override: str | None = None) -> Finding:
        """Hold a place's country against its coordinates. `override`: the operator's reason to differ.

        An override never moves a place further than the tolerance to another RIR region: the coordinates decide the 500 km, so
        they decide the region, too.
        """
        if country not in self._by_country or country not in self._regions:
            return Finding(f"{country} is not an ISO 3166-1 alpha-2 code of a country that an RIR serves (BR 3.2.2.9)")
        metres = self.metres(country, latitude, longitude)
        if metres < _SLIT_METRES:
            unneeded = f"country_override is not needed: {country} is right. Remove it"
            return Finding(warning=None if override is None else unneeded)
        # At high sea the nearest country counts.
        around = self.at(latitude, longitude)
        foreign = [c for c in around or [self._nearest(latitude, longitude)] if not self._same_region(c, country)]
        outside = f"{_degrees(latitude, longitude)} lies {self._where(around)}, {_km(metres)} outside of {self._named(country)}"
        if metres <= TOLERANCE_METRES:
            return self._tolerated(country, foreign, outside, override)
        if override is None:
            return Finding(self._refusal(country, latitude, longitude, outside))
        if foreign:
            return Finding(
                f"{outside}. country_override cannot change the RIR region (BR 3.2.2.9): that of {self._named(foreign[0])} is "
                f"{self._regions[foreign[0]]}, not {self._regions[country]}. Correct country or coordinates"
            )
        return Finding(warning=f"{outside}; country_override: {override}")

    def _tolerated(self, country: str, foreign: Sequence[str], outside: str, override: str | None) -> Finding:
        """Coordinates may be rounded, but not into another region without a word for it."""
        if not foreign:
            return Finding()
        if override is not None:
            return Finding(warning=f"{outside}; country_override: {override}")
        return Finding(
            f"{outside}. That is another RIR region than {self._regions[country]} (BR 3.2.2.9). "
            "Give exact coordinates, or the reason as country_override"
        )

    def _refusal(self, country: str, latitude: float, longitude: float, outside: str) -> str:
        slip = self._slip(country, latitude, longitude)
        rule = "at most 50 km are tolerated, as the country decides the RIR region (BR 3.2.2.9)"
        remedy = "Correct country or coordinates, or give the reason as country_override"
        return f"{outside}; {rule}. {remedy}" if slip is None else f"{outside}; {slip}; {rule}. {remedy}"

    def _slip(self, country: str, latitude: float, longitude: float) -> str | None:
        given = (latitude, longitude)
        for text, (first, second), signs in _SLIPS:
            meant = (given[first] * signs[0], given[second] * signs[1])
            if abs(meant[0]) <= 90 and self.metres(country, *meant) <= TOLERANCE_METRES:
                return text
        return None

    def _nearest(self, latitude: float, longitude: float) -> str:
        return min(self._areas, key=lambda area: area.metres(latitude, longitude)).codes[0]

    def _same_region(self, one: str, other: str) -> bool:
        return self._regions[one] == self._regions[other]

    def _where(self, around: Sequence[str]) -> str:
        return f"in {' and '.join(self._named(code) for code in around)}" if around else "in no country"

    def _named(self, code: str) -> str:
        return f"{code} ({self._names[code]})"


def read(regions: Mapping[str, str], path: Path = DATA) -> Borders:
    """The borders in the file. Takes some 10 ms and megabytes: read when needed, and do not keep."""
    document = json.loads(path.read_text(encoding="utf-8"))
    areas = [
        Area(tuple(area["codes"]), tuple(_ring(numbers) for numbers in area["rings"])) for area in document["areas"]
    ]
    return Borders(areas, document["names"], regions)


def _ring(numbers: Sequence[float]) -> Ring:
    longitudes, latitudes = numbers[::2], numbers[1::2]
    return Ring(min(longitudes), min(latitudes), max(longitudes), max(latitudes), numbers)


def _vector(latitude: float, longitude: float) -> Vector:
    """The point on the unit sphere, which knows neither an antimeridian nor poles."""
    phi, theta = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def _chord(point: Vector, x1: float, y1: float, x2: float, y2: float) -> float:
    """The straight distance from `point` to the edge, in radii of the sphere."""
    pieces = max(1, math.ceil(max(abs(x2 - x1), abs(y2 - y1)) / _PIECE_DEGREES))
    ends = [_vector(y1 + (y2 - y1) * n / pieces, x1 + (x2 - x1) * n / pieces) for n in range(pieces + 1)]
    return min(_to_piece(point, one, other) for one, other in pairwise(ends))


def _to_piece(point: Vector, one: Vector, other: Vector) -> float:
    ax, ay, az = point[0] - one[0], point[1] - one[1], point[2] - one[2]
    bx, by, bz = other[0] - one[0], other[1] - one[1], other[2] - one[2]
    length = bx * bx + by * by + bz * bz
    along = 0.0 if length == 0 else min(1.0, max(0.0, (ax * bx + ay * by + az * bz) / length))
    return math.hypot(ax - along * bx, ay - along * by, az - along * bz)


def _degrees(latitude: float, longitude: float) -> str:
    return f"latitude {latitude:g}, longitude {longitude:g}"


def _km(metres: float) -> str:
    return f"{math.ceil(metres / 1000):,} km"
