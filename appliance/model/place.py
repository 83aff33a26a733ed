"""Where a perspective is: the point where unencapsulated traffic is handed to the Internet (BR 1.6.1)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Rir(StrEnum):
    """The five Regional Internet Registries, by the name of their service region."""

    AFRINIC = "AFRINIC"
    APNIC = "APNIC"
    ARIN = "ARIN"
    LACNIC = "LACNIC"
    RIPE_NCC = "RIPE NCC"


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A point on the Earth. Coordinates are WGS-84 in whole microdegrees; `country` is ISO 3166-1 alpha-2.

    `country_override`: the operator's reason why the coordinates lie outside of `country`, if they do. Left out of JSON
    otherwise, so that places of older records have the same bytes.
    """

    city: str
    country: str
    latitude_udeg: int
    longitude_udeg: int
    country_override: str | None = None


class Site(msgspec.Struct, frozen=True):
    """A network perspective as the policy sees it: its code, its place, and the RIR region its country lies in."""

    code: str
    place: Place
    rir: Rir
