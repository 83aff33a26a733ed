"""Round-trip times against places: an honest node is never contradicted, and what is called proven is so."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.place import Place
from appliance.model.proof import Apartness, Measured, RoundTrip
from appliance.policy.distance import geodesic_metres
from appliance.policy.light import (
    TUNNEL_GUARD_US,
    Timed,
    at_least_metres,
    contradictions,
    region,
)
from appliance.policy.places import Claims, judge_pairs, judge_places

ZURICH = Place("Zurich", "CH", 47_376_900, 8_541_700)
FRANKFURT = Place("Frankfurt", "DE", 50_110_900, 8_682_100)
ASHBURN = Place("Ashburn", "US", 39_043_800, -77_487_400)
TOKYO = Place("Tokyo", "JP", 35_676_200, 139_650_300)
AMSTERDAM = Place("Amsterdam", "NL", 52_367_600, 4_904_100)
NEW_YORK = Place("New York", "US", 40_712_800, -74_006_000)
SINGAPORE = Place("Singapore", "SG", 1_352_100, 103_819_800)
SAO_PAULO = Place("Sao Paulo", "BR", -23_550_500, -46_633_300)
SYDNEY = Place("Sydney", "AU", -33_868_800, 151_209_300)
TRUSTED = {"fra": FRANKFURT, "iad": ASHBURN, "hnd": TOKYO}
CLAIMED = {"zrh": ZURICH, "ams": AMSTERDAM, "nyc": NEW_YORK, "sin": SINGAPORE, "gru": SAO_PAULO, "syd": SYDNEY}
CLAIMS = Claims(CLAIMED, TRUSTED, "zrh", ZURICH)

places = st.builds(
    Place,
    st.just("somewhere"),
    st.just("CH"),
    st.integers(-90_000_000, 90_000_000),
    st.integers(-180_000_000, 180_000_000),
)
detours = st.integers(100, 300)
noise_us = st.integers(0, 200_000)


def light_us(one: Place, other: Place, detour_percent: int = 100) -> int:
    """A round trip at 200 km/ms, which is 100 m there and back per microsecond; rounded up as the worker's are."""
    return -(-(geodesic_metres(one, other) + 1) * detour_percent // (100 * 100))


@st.composite
def honest(draw: st.DrawFn, at: Place, appliance: Place) -> list[Timed]:
    """What a node at `at` measures: each way as long as it likes, the tunnel's smallest time at most a guard too large."""
    tunnel = light_us(appliance, at, draw(detours)) + draw(noise_us)
    told = max(0, tunnel + draw(st.integers(-10_000, TUNNEL_GUARD_US - 1)))
    return [
        Timed(f"a{n}", anchor, tunnel + light_us(at, anchor, draw(detours)) + draw(noise_us), told)
        for n, anchor in enumerate(draw(st.lists(places, min_size=1, max_size=4)))
    ]


@given(st.data(), places, places)
def test_an_honest_node_is_never_contradicted(data: st.DataObject, at: Place, appliance: Place) -> None:
    timed = data.draw(honest(at, appliance))
    assert list(contradictions(at, appliance, timed)) == []
    assert list(contradictions(at, None, timed)) == []


@given(st.data(), places, places)
def test_the_hand_off_point_is_in_every_disc(data: st.DataObject, at: Place, appliance: Place) -> None:
    for known in (appliance, None):
        for disc in region(known, data.draw(honest(at, appliance))):
            assert geodesic_metres(disc.around, at) <= disc.radius_metres


@given(st.data(), places, places, places)
def test_no_two_are_nearer_than_what_is_proven(data: st.DataObject, one: Place, other: Place, appliance: Place) -> None:
    regions = [region(appliance, data.draw(honest(at, appliance))) for at in (one, other)]
    assert at_least_metres(*regions) <= geodesic_metres(one, other)


@given(places, places, places, st.lists(st.integers(0, 10_000_000), min_size=2, max_size=2))
def test_delay_never_makes_a_contradiction_of_the_whole_way(
    at: Place, appliance: Place, anchor: Place, delays_us: list[int]
) -> None:
    """Whatever the node says of its tunnel: only a smaller whole time could contradict, and that needs less than light's."""
    whole = light_us(appliance, at) + light_us(at, anchor)
    timed = [Timed("a", anchor, whole + delay, 0) for delay in delays_us]
    assert list(contradictions(at, appliance, timed)) == []


def measured_from(actual: Mapping[str, Place], detour_percent: int = 130) -> dict[str, Measured]:
    """What the workers measure where the nodes are at `actual`; each answers the others."""
    found = {}
    for code, at in actual.items():
        tunnel = 0 if code == "zrh" else light_us(ZURICH, at, detour_percent)
        others = {**TRUSTED, **{peer: place for peer, place in actual.items() if peer not in {code, "zrh"}}}
        trips = tuple(
            RoundTrip(name, tunnel + light_us(at, place, detour_percent) + 500, 15) for name, place in others.items()
        )
        found[code] = Measured("2026-11-21T12:00:00Z", 5, tunnel, trips)
    return found


def accused(actual: Mapping[str, Place], claims: Claims = CLAIMS) -> set[str]:
    return {code for code, verdict in judge_places(claims, measured_from(actual)).items() if verdict.against}


def test_all_where_they_claim_to_be() -> None:
    verdicts = judge_places(CLAIMS, measured_from(CLAIMED))
    assert all(verdict.enough and not verdict.against for verdict in verdicts.values())
    pairs = judge_pairs(CLAIMS, verdicts)
    assert Apartness.CONTRADICTED not in pairs.values()
    assert pairs["ams", "nyc"] is Apartness.PROVEN
    assert pairs["nyc", "ams"] is Apartness.PROVEN
    assert pairs["ams", "zrh"] is Apartness.CONSISTENT, "617 km are too few to be told apart"


def test_frankfurt_is_not_singapore() -> None:
    actual = CLAIMED | {"sin": FRANKFURT}
    verdicts = judge_places(CLAIMS, measured_from(actual))
    assert {code for code, verdict in verdicts.items() if verdict.against} == {"sin"}
    assert "light needs" in verdicts["sin"].against[0]
    pairs = judge_pairs(CLAIMS, verdicts)
    assert {pair for pair, found in pairs.items() if found is Apartness.CONTRADICTED} == {
        pair for pair in pairs if "sin" in pair
    }


def test_a_node_that_is_farther_than_it_claims() -> None:
    assert accused(CLAIMED | {"ams": ASHBURN}) == {"ams"}


def test_the_nodes_alone_find_the_liar_among_them() -> None:
    alone = Claims(CLAIMED, {}, "zrh", ZURICH)
    assert accused(CLAIMED, alone) == set()
    assert accused(CLAIMED | {"sin": FRANKFURT}, alone) == {"sin"}
    assert accused(CLAIMED | {"sin": FRANKFURT, "syd": AMSTERDAM}, alone) == {"sin", "syd"}


def test_a_wrong_primary_accuses_nobody_else() -> None:
    wrong = Claims(CLAIMED | {"zrh": SYDNEY}, TRUSTED, "zrh", SYDNEY)
    assert accused(CLAIMED, wrong) == {"zrh"}


def test_two_nodes_in_one_place_are_not_distinct() -> None:
    haarlem = Place("Haarlem", "NL", 52_387_400, 4_646_200)
    claims = Claims({"ams": AMSTERDAM, "haa": haarlem}, {"ams2": AMSTERDAM} | TRUSTED, "zrh", None)
    near = {"ams2": 500, "fra": 90_000, "iad": 90_000, "hnd": 190_000}
    seen = Measured("2026-11-21T12:00:00Z", 1, 0, tuple(RoundTrip(name, us, 3) for name, us in near.items()))
    verdicts = judge_places(claims, {"ams": seen, "haa": seen})
    assert not any(verdict.against for verdict in verdicts.values())
    assert judge_pairs(claims, verdicts)["ams", "haa"] is Apartness.CONTRADICTED
    assert judge_pairs(claims, {"ams": verdicts["ams"]})["ams", "haa"] is Apartness.CONSISTENT


def test_too_few_anchors_prove_nothing() -> None:
    seen = Measured("2026-11-21T12:00:00Z", 5, 0, (RoundTrip("fra", 10_000, 3), RoundTrip("iad", 200_000, 3)))
    assert not judge_places(CLAIMS, {"ams": seen})["ams"].enough
