"""Country to RIR service region (BR 3.2.2.9 counts regions), from the five registries' own lists of countries served.

The region follows from the country of the hand-off point, not from who registered an address there.
"""

from __future__ import annotations

from appliance.model.place import Rir
from appliance.policy.served import REGIONS

_BY_COUNTRY: dict[str, Rir] = {country: Rir(region) for country, region in REGIONS.items()}


def region_of(country: str) -> Rir | None:
    """The service region that an ISO 3166-1 alpha-2 country lies in; None for a code that no registry lists."""
    return _BY_COUNTRY.get(country)


def countries() -> frozenset[str]:
    """Every country code with a region."""
    return frozenset(_BY_COUNTRY)
