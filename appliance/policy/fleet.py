"""The perspectives that one deployment has, with the distances between them, and whether the set meets the BRs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

from appliance.config import PerspectiveConfig, PlaceConfig, PrimaryConfig, RemotePerspectiveConfig, Settings
from appliance.errors import ConfigError
from appliance.model.place import Place, Rir, Site
from appliance.policy.borders import read
from appliance.policy.br_table import BR_SECTION, row_at
from appliance.policy.distance import DISTINCT_METRES, geodesic_metres
from appliance.policy.served import REGIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The primary's site and the remotes', in configured order. `metres` has every unordered pair, keyed both ways."""

    primary: Site
    remotes: tuple[Site, ...]
    metres: Mapping[Pair, int]

    def site(self, code: str) -> Site:
        """The site of `code`. Raises `KeyError` for a code that is not configured."""
        for site in (self.primary, *self.remotes):
            if site.code == code:
                return site
        raise KeyError(code)

    def without(self, codes: Collection[str]) -> Fleet:
        """The same fleet less the remotes in `codes`."""
        return replace(self, remotes=tuple(site for site in self.remotes if site.code not in codes))

    def nearest(self, code: str) -> tuple[str, int]:
        """The perspective nearest to `code`, and how many metres away it is."""
        others = [site.code for site in (self.primary, *self.remotes) if site.code != code]
        return min(((other, self.metres[code, other]) for other in others), key=lambda pair: pair[1])


def fleet_of(primary: Site, remotes: Iterable[Site]) -> Fleet:
    """A fleet with its matrix of distances."""
    chosen = tuple(remotes)
    metres: dict[Pair, int] = {}
    for one, other in combinations((primary, *chosen), 2):
        metres[one.code, other.code] = metres[other.code, one.code] = geodesic_metres(one.place, other.place)
    return Fleet(primary, chosen, MappingProxyType(metres))


def fleet_from(settings: Settings) -> Fleet:
    """The fleet that the configuration describes. Raises `ConfigError` for a country that lies in no RIR region, and for any
    place, those of anchors among them, whose coordinates are not in its country.
    """
    problems, _ = place_findings(settings)
    if problems:
        raise ConfigError(problems)
    remotes: tuple[PerspectiveConfig | RemotePerspectiveConfig, ...] = settings.perspectives
    remotes += settings.remote_perspectives
    return fleet_of(_site(settings.primary), (_site(remote) for remote in remotes))


def place_findings(settings: Settings) -> tuple[list[str], list[str]]:
    """The problems of all configured places, and the warnings, as lines of the form `key: rule`.

    Reads the borders and lets go of them: they are megabytes that nobody needs after the start.
    """
    borders = read(REGIONS)
    problems, warnings = [], []
    for key, place in _places(settings):
        found = borders.compare(place.country, place.latitude, place.longitude, place.country_override)
        if found.problem is not None:
            problems.append(f"{key}.country: {found.problem}")
        if found.warning is not None:
            warnings.append(f"{key}.country: {found.warning}")
    return problems, warnings


def _places(settings: Settings) -> Iterator[tuple[str, PlaceConfig]]:
    """Every configured place by its key."""
    yield "primary.place", settings.primary.place
    for name in ("perspectives", "remote_perspectives", "place_anchors"):
        for index, one in enumerate(getattr(settings, name)):
            yield f"{name}.{index}.place", one.place


def _site(configured: PrimaryConfig | PerspectiveConfig | RemotePerspectiveConfig) -> Site:
    return Site(configured.code, place_of(configured.place), Rir(REGIONS[configured.place.country]))


def shortfalls(fleet: Fleet, day: date) -> list[str]:
    """Each rule of BR 3.2.2.9 that this set breaks on `day`, in words; empty when a compliant quorum is possible."""
    row = row_at(day)
    found = [
        f"perspectives: {one} and {other} are {metres // 1000} km apart, under 500 km (BR {BR_SECTION}, 1.6.1 distinct)"
        for one, other, metres in too_close(fleet, [fleet.primary.code, *(site.code for site in fleet.remotes)])
    ]
    if len(fleet.remotes) < row.remotes_required:
        found.append(
            f"perspectives: {len(fleet.remotes)} remote, at least {row.remotes_required} since {row.since} (BR {BR_SECTION})"
        )
    regions = {site.rir for site in fleet.remotes}
    if len(regions) < row.rir_regions_required:
        found.append(
            f"perspectives: {len(regions)} RIR region, at least {row.rir_regions_required} since {row.since} (BR {BR_SECTION})"
        )
    return found


def too_close(fleet: Fleet, codes: Iterable[str]) -> list[tuple[str, str, int]]:
    """The pairs among `codes` that are not distinct, with their metres."""
    return [
        (one, other, fleet.metres[one, other])
        for one, other in combinations(codes, 2)
        if fleet.metres[one, other] < DISTINCT_METRES
    ]


def place_of(configured: PlaceConfig) -> Place:
    """A configured place in whole microdegrees."""
    return Place(
        city=configured.city,
        country=configured.country,
        latitude_udeg=round(configured.latitude * 1_000_000),
        longitude_udeg=round(configured.longitude * 1_000_000),
        country_override=configured.country_override,
    )
