"""No combination of observations is valid that the dated table forbids."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.place import Place, Rir, Site
from appliance.policy.br_table import ROWS, allowed_non_corroborations, next_row, row_at
from appliance.policy.fleet import fleet_of, shortfalls
from appliance.policy.quorum import judge

PLACES = {
    "waw": (Rir.RIPE_NCC, "PL", 52.2, 21.0),
    "ams": (Rir.RIPE_NCC, "NL", 52.4, 4.9),
    "nyc": (Rir.ARIN, "US", 40.7, -74.0),
    "sin": (Rir.APNIC, "SG", 1.35, 103.8),
    "gru": (Rir.LACNIC, "BR", -23.5, -46.6),
    "jnb": (Rir.AFRINIC, "ZA", -26.2, 28.0),
    "syd": (Rir.APNIC, "AU", -33.9, 151.2),
    "mad": (Rir.RIPE_NCC, "ES", 40.4, -3.7),
    "hel": (Rir.RIPE_NCC, "FI", 60.2, 24.9),
    "bru": (Rir.RIPE_NCC, "BE", 50.85, 4.35),  # 174 km from ams
}


def site(code: str) -> Site:
    rir, country, latitude, longitude = PLACES[code]
    return Site(code, Place(code, country, round(latitude * 1e6), round(longitude * 1e6)), rir)


FLEET = fleet_of(site("waw"), [site(code) for code in PLACES if code != "waw"])
REMOTES = [remote.code for remote in FLEET.remotes]
DAYS = st.dates(date(2025, 3, 15), date(2028, 1, 1)) | st.sampled_from(
    [date.fromisoformat(row.since) + timedelta(days=offset) for row in ROWS for offset in (-1, 0)]
)


def forbidden(day: date, corroborates: dict[str, bool], *, primary_passed: bool) -> bool:
    """BR 3.2.2.9 written out again, from its dates, so that the table is held to something other than itself."""
    count, yes = len(corroborates), [code for code, ok in corroborates.items() if ok]
    needed = 2 + (day >= date(2026, 3, 15)) + (day >= date(2026, 6, 15)) + (day >= date(2026, 12, 15))
    regions = {PLACES[code][0] for code in yes}
    return (
        not primary_passed
        or count < needed
        or count - len(yes) > (1 if count <= 5 else 2)
        or (day >= date(2026, 3, 15) and len(regions) < 2)
        or {"ams", "bru"} <= corroborates.keys()
    )


@given(DAYS, st.dictionaries(st.sampled_from(REMOTES), st.booleans()), st.booleans(), st.none() | st.integers(0, 12))
def test_no_combination_is_valid_that_the_table_forbids(
    day: date, corroborates: dict[str, bool], primary_passed: bool, quorum_count: int | None
) -> None:
    verdict = judge(FLEET, day, primary_passed=primary_passed, remotes=corroborates, quorum_count=quorum_count)
    yes = sum(corroborates.values())
    if forbidden(day, corroborates, primary_passed=primary_passed):
        assert not verdict.is_valid
        assert verdict.reasons
    else:
        assert verdict.is_valid == (yes >= (quorum_count or 0))
    assert verdict.quorum == f"{yes}/{len(corroborates)}"


@pytest.mark.parametrize(
    ("day", "attempted", "missing", "valid"),
    [
        ("2026-03-14", 2, 1, True),
        ("2026-03-15", 2, 0, False),
        ("2026-06-14", 3, 1, True),
        ("2026-06-15", 3, 0, False),
        ("2026-12-14", 4, 1, True),
        ("2026-12-15", 4, 0, False),
        ("2026-12-15", 5, 1, True),
        ("2026-12-15", 5, 2, False),
        ("2026-12-15", 6, 2, True),
        ("2026-12-15", 6, 3, False),
    ],
)
def test_both_sides_of_each_change(day: str, attempted: int, missing: int, valid: bool) -> None:
    codes = ["nyc", "sin", "gru", "jnb", "syd", "mad"][:attempted]
    remotes = {code: index >= missing for index, code in enumerate(codes)}
    assert judge(FLEET, date.fromisoformat(day), primary_passed=True, remotes=remotes).is_valid is valid


def test_one_region_is_refused_with_its_reason() -> None:
    fleet = fleet_of(site("nyc"), [site(code) for code in ("waw", "ams", "mad", "hel", "gru")])
    remotes = dict.fromkeys(("waw", "ams", "mad", "hel"), True) | {"gru": False}
    verdict = judge(fleet, date(2026, 12, 15), primary_passed=True, remotes=remotes)
    assert not verdict.is_valid
    assert any("RIR" in reason for reason in verdict.reasons)


def test_a_set_that_cannot_comply_is_named() -> None:
    near = fleet_of(site("waw"), [site(code) for code in ("ams", "bru", "nyc", "sin", "gru")])
    assert [line for line in shortfalls(near, date(2026, 12, 15)) if "ams and bru" in line and "500 km" in line]
    few = fleet_of(site("waw"), [site(code) for code in ("ams", "nyc", "sin", "gru")])
    assert shortfalls(few, date(2026, 12, 14)) == []
    assert shortfalls(few, date(2026, 12, 15))
    assert shortfalls(fleet_of(site("nyc"), [site(c) for c in ("waw", "ams", "mad", "hel")]), date(2026, 11, 1))


def test_the_clock_before_the_table_asks_for_no_less() -> None:
    assert row_at(date(1970, 1, 1)) is ROWS[0]
    assert next_row(date(2026, 11, 21)) is ROWS[3]
    assert next_row(date(2026, 12, 15)) is None
    assert [allowed_non_corroborations(count) for count in (0, 1, 2, 5, 6, 9)] == [0, 0, 1, 1, 2, 2]
