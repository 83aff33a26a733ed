"""A place's country against its coordinates: cities of every region, slips of the hand, and geometry on the sphere."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy import borders as module
from appliance.policy import rir, served
from appliance.policy.borders import TOLERANCE_METRES, Borders, read
from appliance.policy.served import REGIONS

CITIES = """\
AE Dubai 25.20 55.27
AQ McMurdo -77.85 166.67
AR Buenos_Aires -34.61 -58.38
AR Ushuaia -54.80 -68.30
AT Vienna 48.21 16.37
AU Sydney -33.87 151.21
AU Hobart -42.88 147.33
AU Darwin -12.46 130.84
AX Mariehamn 60.10 19.94
BD Dhaka 23.81 90.41
BE Baarle-Hertog 51.44 4.93
BH Manama 26.23 50.58
BM Hamilton 32.29 -64.78
BN Bandar_Seri_Begawan 4.94 114.95
BQ Kralendijk 12.15 -68.27
BR Sao_Paulo -23.55 -46.63
BR Manaus -3.12 -60.02
BS Nassau 25.05 -77.35
CA Toronto 43.65 -79.38
CA Windsor 42.31 -83.04
CA Montreal 45.50 -73.57
CA Vancouver 49.28 -123.12
CD Kinshasa -4.32 15.31
CG Brazzaville -4.27 15.27
CH Zurich 47.38 8.54
CH Geneva 46.20 6.15
CH Basel 47.56 7.59
CL Santiago -33.45 -70.67
CL Hanga_Roa -27.15 -109.43
CN Beijing 39.90 116.41
CN Shenzhen 22.54 114.06
CO Bogota 4.71 -74.07
CV Praia 14.93 -23.51
CW Willemstad 12.11 -68.93
CY Nicosia 35.19 33.38
DE Frankfurt 50.11 8.68
DE Buesingen 47.70 8.69
DK Copenhagen 55.68 12.57
EC Quito -0.18 -78.47
EG Cairo 30.04 31.24
ES Madrid 40.42 -3.70
ES Ceuta 35.89 -5.31
ES Las_Palmas 28.12 -15.43
FI Helsinki 60.17 24.94
FJ Suva -18.14 178.44
FJ Taveuni -16.85 -179.97
FK Stanley -51.70 -57.85
FO Torshavn 62.01 -6.77
FR Paris 48.86 2.35
FR Marseille 43.30 5.37
FR Strasbourg 48.57 7.75
GB London 51.51 -0.13
GB Belfast 54.60 -5.93
GE Tbilisi 41.72 44.79
GF Cayenne 4.92 -52.33
GG Saint_Peter_Port 49.46 -2.54
GI Gibraltar 36.14 -5.35
GL Nuuk 64.18 -51.72
GP Pointe-a-Pitre 16.24 -61.53
GU Hagatna 13.47 144.75
HK Hong_Kong 22.32 114.17
ID Jakarta -6.21 106.85
ID Batam 1.13 104.05
IE Dublin 53.35 -6.26
IL Tel_Aviv 32.09 34.78
IL Eilat 29.56 34.95
IM Douglas 54.15 -4.48
IN Mumbai 19.08 72.88
IO Diego_Garcia -7.31 72.41
IS Reykjavik 64.15 -21.94
IT Rome 41.90 12.50
JE Saint_Helier 49.19 -2.11
JP Tokyo 35.68 139.69
JP Naha 26.21 127.68
KE Nairobi -1.29 36.82
KI Tarawa 1.33 172.98
KI Kiritimati 1.87 -157.40
KR Seoul 37.57 126.98
LI Vaduz 47.14 9.52
LS Maseru -29.31 27.48
LU Luxembourg 49.61 6.13
MC Monaco 43.73 7.42
MG Antananarivo -18.88 47.51
MO Macau 22.20 113.54
MQ Fort-de-France 14.60 -61.07
MT Valletta 35.90 14.51
MU Port_Louis -20.16 57.50
MV Male 4.18 73.51
MX Mexico_City 19.43 -99.13
MX Tijuana 32.51 -117.04
MY Kuala_Lumpur 3.14 101.69
MY Johor_Bahru 1.49 103.74
NC Noumea -22.26 166.45
NG Lagos 6.52 3.38
NL Amsterdam 52.37 4.90
NO Oslo 59.91 10.75
NR Yaren -0.55 166.92
NZ Auckland -36.85 174.76
NZ Chatham -43.95 -176.55
PA Panama_City 8.98 -79.52
PF Papeete -17.54 -149.57
PM Saint-Pierre 46.78 -56.18
PR San_Juan 18.47 -66.11
PS Gaza 31.50 34.47
PT Lisbon 38.72 -9.14
PT Ponta_Delgada 37.74 -25.67
RE Saint-Denis -20.88 55.45
RU Moscow 55.76 37.62
RU Anadyr 64.73 177.50
RU Mys_Shmidta 68.88 -179.37
RU Kaliningrad 54.71 20.51
SC Victoria -4.62 55.45
SE Stockholm 59.33 18.07
SG Singapore 1.35 103.82
SH Jamestown -15.93 -5.72
SJ Longyearbyen 78.22 15.65
SM San_Marino 43.94 12.45
SX Philipsburg 18.03 -63.05
TF Port-aux-Francais -49.35 70.22
TO Nukualofa -21.13 -175.20
TR Istanbul 41.01 28.98
TT Port_of_Spain 10.66 -61.51
TV Funafuti -8.52 179.20
TW Taipei 25.03 121.57
UA Kyiv 50.45 30.52
US New_York 40.71 -74.01
US Detroit 42.33 -83.05
US San_Diego 32.72 -117.16
US Honolulu 21.31 -157.86
US Anchorage 61.22 -149.90
US Adak 51.88 -176.66
US Attu 52.90 172.91
UY Montevideo -34.90 -56.16
VA Vatican 41.9025 12.453
VI Charlotte_Amalie 18.34 -64.93
WS Apia -13.83 -171.76
XK Pristina 42.66 21.17
YT Mamoudzou -12.78 45.23
ZA Johannesburg -26.20 28.05
ZA Cape_Town -33.92 18.42
ZW Harare -17.83 31.05
"""
PLACES = [(country, float(y), float(x)) for country, _, y, x in (line.split() for line in CITIES.splitlines())]
LATITUDES, LONGITUDES = st.floats(-90, 90), st.floats(-180, 180)
COUNTRIES = st.sampled_from(sorted(REGIONS))


@cache
def borders() -> Borders:
    return read(REGIONS)


def test_each_country_has_a_region_and_an_area() -> None:
    assert borders().countries() == set(REGIONS)
    assert rir.countries() == set(REGIONS)
    assert sum(len(codes.split()) for codes in served.SERVED.values()) == len(REGIONS), "each in one region alone"


@pytest.mark.parametrize(("country", "latitude", "longitude"), PLACES)
def test_a_city_lies_in_its_country(country: str, latitude: float, longitude: float) -> None:
    found = borders().compare(country, latitude, longitude)
    assert (found.problem, found.warning) == (None, None)
    assert country in borders().at(latitude, longitude)
    # Rounded to half a degree it is not refused, unless that puts it into another region.
    nearly = borders().compare(country, round(latitude * 2) / 2, round(longitude * 2) / 2)
    assert nearly.problem is None or "That is another RIR region" in nearly.problem


@pytest.mark.parametrize(("country", "latitude", "longitude"), PLACES)
def test_swapped_coordinates_are_refused(country: str, latitude: float, longitude: float) -> None:
    # Cairo's, exchanged, are in Egypt, too: nobody can tell.
    if abs(longitude) <= 90 and country != "EG":
        problem = borders().compare(country, longitude, latitude).problem
        assert problem is not None
        assert "; latitude and longitude look swapped; at most 50 km are tolerated" in problem


REFUSED = [
    ("IL", 41.88, -87.63, "lies in US (United States of America), 9,807 km outside of IL (Israel); at most 50 km"),
    ("GA", 33.75, -84.39, "lies in US (United States of America), 10,199 km outside of GA (Gabon); at most 50 km"),
    ("CO", 39.74, -104.99, "lies in US (United States of America), 3,302 km outside of CO (Colombia); at most 50 km"),
    ("US", 40.71, 74.01, "the sign of longitude looks wrong"),
    ("BR", 23.55, -46.63, "in no country, 2,131 km outside of BR (Brazil); the sign of latitude looks wrong"),
    ("AU", 33.87, -151.21, "the signs of latitude and longitude look wrong"),
    ("BR", 46.63, -23.55, "latitude and longitude look swapped, and a sign wrong"),
    # A territory of a country in another region is not that country.
    ("FR", -20.88, 55.45, "lies in RE (Réunion), 8,357 km outside of FR"),
    ("FR", 4.92, -52.33, "lies in GF (French Guiana)"),
    ("GB", 32.29, -64.78, "lies in BM (Bermuda)"),
    ("US", 13.47, 144.75, "lies in GU (Guam)"),
    ("NL", 12.11, -68.93, "lies in CW (Curaçao)"),
    # Nor is the country the territory.
    ("RE", 48.86, 2.35, "lies in FR (France)"),
    ("SG", 3.14, 101.69, "lies in MY (Malaysia)"),
    ("US", 90.0, 0.0, "in no country"),
    ("ZZ", 0.0, 0.0, "ZZ is not an ISO 3166-1 alpha-2 code of a country that an RIR serves"),
    ("UK", 51.5, -0.1, "UK is not an ISO 3166-1"),
    ("EU", 50.1, 8.7, "EU is not an ISO 3166-1"),
]


@pytest.mark.parametrize(("country", "latitude", "longitude", "words"), REFUSED)
def test_a_place_elsewhere_is_refused_and_no_reason_moves_its_region(
    country: str, latitude: float, longitude: float, words: str
) -> None:
    problem = borders().compare(country, latitude, longitude).problem
    assert problem is not None
    assert words in problem
    here = [REGIONS[code] for code in borders().at(latitude, longitude)]
    overridden = borders().compare(country, latitude, longitude, "a reason that is given")
    if country not in REGIONS:
        assert overridden.problem == problem
    elif here and here != [REGIONS[country]]:
        assert overridden.problem is not None
        assert "country_override cannot change the RIR region (BR 3.2.2.9)" in overridden.problem


@pytest.mark.parametrize(
    ("country", "latitude", "longitude"),
    [
        ("CN", 22.32, 114.17),  # HK
        ("US", 18.47, -66.11),  # PR, both ARIN
        ("GB", 49.46, -2.54),  # GG
        ("DK", 64.18, -51.72),  # GL
        ("ES", 35.89, -5.31),  # Ceuta
        ("FI", 60.10, 19.94),  # AX
        ("UA", 44.95, 34.10),  # Crimea, by either
        ("RU", 44.95, 34.10),
        ("RS", 42.66, 21.17),  # Kosovo
        ("CY", 35.34, 33.32),  # Northern Cyprus
        ("SH", -37.07, -12.31),  # Tristan da Cunha, reserved as TA
        ("GG", 49.43, -2.36),  # Sark, reserved as CQ
    ],
)
def test_a_country_has_its_territories_in_the_same_region(country: str, latitude: float, longitude: float) -> None:
    assert borders().compare(country, latitude, longitude) == module.Finding()


def test_an_override_within_a_region_is_a_warning_with_its_reason() -> None:
    found = borders().compare("NL", 50.5, 8.7, "the border data is wrong here")
    assert found.problem is None
    assert found.warning is not None
    assert "lies in DE (Germany)" in found.warning
    assert found.warning.endswith("; country_override: the border data is wrong here")
    # Held by Morocco, whose area it is in the data; ISO 3166-1 has a code for it.
    assert borders().compare("EH", 27.15, -13.2).problem is not None
    assert borders().compare("EH", 27.15, -13.2, "ISO has a code for it").problem is None
    needless = borders().compare("DE", 50.5, 8.7, "the border data is wrong here")
    assert needless.problem is None
    assert "not needed" in str(needless.warning)


def test_another_region_within_the_tolerance_needs_a_reason() -> None:
    found = borders().compare("MX", 32.72, -117.16)
    assert "21 km outside of MX (Mexico). That is another RIR region than LACNIC" in str(found.problem)
    assert "Give exact coordinates, or the reason as country_override" in str(found.problem)
    reasoned = borders().compare("MX", 32.72, -117.16, "rounded: the machine is in Tijuana")
    assert reasoned.problem is None
    assert "21 km outside of MX" in str(reasoned.warning)
    assert borders().compare("BE", 51.2, 5.95) == module.Finding(), "the Netherlands are of the same region"


@pytest.mark.parametrize(
    ("country", "point", "nearest"),
    [
        ("US", (49.3, -105.0), (49.0, -105.0)),  # along the 49th parallel
        ("CA", (48.6, -105.0), (49.0, -105.0)),
        ("EG", (31.0, 24.0), None),
        ("LY", (28.0, 25.45), (28.0, 25.0)),  # along the meridian of 25 degrees
        ("CA", (68.5, -141.9), (68.5, -141.0)),
        ("RU", (70.0, -170.0), None),  # from the other side of the antimeridian
        ("FJ", (-17.0, 173.0), None),
    ],
)
def test_distances_are_those_on_the_ellipsoid(
    country: str, point: tuple[float, float], nearest: tuple[float, float] | None
) -> None:
    metres = borders().metres(country, *point)
    if nearest is not None:
        exact = Geodesic.WGS84.Inverse(*point, *nearest)["s12"]
        assert metres == pytest.approx(exact, rel=0.007, abs=150)
    vertices = (
        (ring.numbers[at + 1], ring.numbers[at])
        for area in borders()._by_country[country]
        for ring in area.rings
        for at in range(0, len(ring.numbers), 2)
    )
    assert metres <= min(Geodesic.WGS84.Inverse(*point, *vertex)["s12"] for vertex in vertices) * 1.006 + 30


@given(COUNTRIES, LATITUDES, LONGITUDES, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_step_changes_the_distance_by_no_more_than_its_length(
    country: str, latitude: float, longitude: float, north: float, east: float
) -> None:
    there = (min(90.0, max(-90.0, latitude + north)), (longitude + east + 180) % 360 - 180)
    step = Geodesic.WGS84.Inverse(latitude, longitude, *there)["s12"]
    one, other = borders().metres(country, latitude, longitude), borders().metres(country, *there)
    assert abs(one - other) <= step * 1.007 + 30


@given(COUNTRIES, LATITUDES)
def test_the_antimeridian_is_one_line(country: str, latitude: float) -> None:
    east, west = borders().metres(country, latitude, 180.0), borders().metres(country, latitude, -180.0)
    assert east == pytest.approx(west, abs=5)


@given(
    st.sampled_from(PLACES),
    st.floats(-3, 3),
    st.floats(-3, 3),
    COUNTRIES,
    st.none() | st.just("some reason that is given"),
)
def test_no_place_counts_for_a_region_that_is_not_within_50_km(
    place: tuple[str, float, float], north: float, east: float, country: str, override: str | None
) -> None:
    """Where the coordinates lie in a country, only its own region, or one whose border is within the tolerance, counts."""
    latitude, longitude = min(90.0, max(-90.0, place[1] + north)), min(180.0, max(-180.0, place[2] + east))
    around = {REGIONS[code] for code in borders().at(latitude, longitude)}
    for stated in (country, place[0]):
        found = borders().compare(stated, latitude, longitude, override)
        if found.problem is not None or not around or REGIONS[stated] in around:
            continue
        assert borders().metres(stated, latitude, longitude) <= TOLERANCE_METRES
        assert found.warning is not None


def test_the_playbooks_can_read_it_without_the_appliance() -> None:
    for file in (module.__file__, served.__file__):
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
        names = [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
