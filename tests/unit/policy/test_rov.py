"""Rounds to a verdict: the table of verdicts, its numbers, and the properties that no set of rounds may break."""

from __future__ import annotations

from math import comb

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.rov import BeaconKind, Grade, Round, RoundResult, RovVerdict
from appliance.policy.rov import (
    KEPT_WINDOWS,
    MIN_ROUNDS,
    bound_ppm,
    comes_into_force,
    fresh_rounds,
    grade,
    p_value_ppm,
    window,
    worst,
)

BEACONS = {
    "alpha": ("Alpha", BeaconKind.PAIR),
    "beta": ("Beta", BeaconKind.PAIR),
    "beta-two": ("Beta", BeaconKind.PAIR),
    "cover": ("Cover", BeaconKind.COVER),
}
OF_PAIRS = [one for one in RoundResult if one not in {RoundResult.COVERED, RoundResult.EXPOSED}]
OF_COVERS = [RoundResult.COVERED, RoundResult.EXPOSED, RoundResult.LOST, RoundResult.ROA, RoundResult.STALE]


def rounds(beacon: str, result: RoundResult, count: int, controls_lost: int = 0) -> list[Round]:
    operator, kind = BEACONS[beacon]
    return [Round("2026-11-21T12:00:00.000000Z", beacon, operator, kind, result, controls_lost)] * count


def blocked(beacon: str, count: int = 10) -> list[Round]:
    return rounds(beacon, RoundResult.BLOCKED, count)


def reached(beacon: str, count: int = 10) -> list[Round]:
    return rounds(beacon, RoundResult.REACHED, count)


def cover(result: RoundResult, count: int = 10) -> list[Round]:
    return rounds("cover", result, count)


A, B = RoundResult.COVERED, RoundResult.EXPOSED
FILTERING, NOT_FILTERING, PARTIAL, INCONCLUSIVE = (
    RovVerdict.FILTERING,
    RovVerdict.NOT_FILTERING,
    RovVerdict.PARTIAL,
    RovVerdict.INCONCLUSIVE,
)


@pytest.mark.parametrize(
    ("seen", "verdict", "strong"),
    [
        (blocked("alpha") + blocked("beta") + cover(A), FILTERING, True),
        (blocked("alpha") + blocked("beta"), FILTERING, False),
        (blocked("alpha") + blocked("beta") + cover(A, 5), FILTERING, False),
        (blocked("alpha") + blocked("beta") + cover(B, 1), PARTIAL, False),
        (blocked("alpha", 6) + blocked("beta", 6), FILTERING, False),
        (blocked("alpha", 5) + blocked("beta", 10), INCONCLUSIVE, False),
        (blocked("beta") + blocked("beta-two"), INCONCLUSIVE, False),
        (blocked("beta") + cover(B), PARTIAL, False),
        (reached("alpha") + reached("beta"), NOT_FILTERING, False),
        (reached("alpha"), INCONCLUSIVE, False),
        (reached("alpha") + blocked("beta", 5) + cover(B), INCONCLUSIVE, False),
        (reached("alpha") + cover(B), NOT_FILTERING, False),
        (reached("alpha", 1) + blocked("beta"), PARTIAL, False),
        (blocked("alpha", 9) + reached("alpha", 1) + blocked("beta"), PARTIAL, False),
        (blocked("alpha", 5) + reached("alpha", 5) + reached("beta"), PARTIAL, False),
        (blocked("alpha") + rounds("alpha", RoundResult.AMBIGUOUS, 1) + blocked("beta"), INCONCLUSIVE, False),
        (rounds("alpha", RoundResult.AMBIGUOUS, 10) + rounds("beta", RoundResult.AMBIGUOUS, 10), INCONCLUSIVE, False),
        (rounds("alpha", RoundResult.LOST, 10, 2) + rounds("beta", RoundResult.LOST, 10, 2), INCONCLUSIVE, False),
        (rounds("alpha", RoundResult.UNWITNESSED, 10) + blocked("beta"), INCONCLUSIVE, False),
        (blocked("alpha") + rounds("alpha", RoundResult.ROA, 1) + blocked("beta"), INCONCLUSIVE, False),
        (blocked("alpha") + blocked("beta") + rounds("beta", RoundResult.STALE, 1), INCONCLUSIVE, False),
        (reached("alpha") + reached("beta") + rounds("beta", RoundResult.SOURCE, 1), INCONCLUSIVE, False),
        ([], INCONCLUSIVE, False),
    ],
)
def test_the_table_of_verdicts(seen: list[Round], verdict: RovVerdict, strong: bool) -> None:
    graded = grade(seen)
    assert (graded.verdict, graded.strong) == (verdict, strong), graded


def test_too_few_rounds_are_not_told_as_reached() -> None:
    assert grade(blocked("alpha", 2) + blocked("beta", 2)).reason == "too few pairs with rounds that count"
    assert "is reached" in grade(reached("alpha") + blocked("beta", 2)).reason


def test_loss_that_the_controls_show_too_is_not_a_mixed_path() -> None:
    lossy = reached("alpha", 6) + blocked("alpha", 4) + rounds("alpha", RoundResult.LOST, 10, controls_lost=1)
    assert grade(lossy + reached("beta")).verdict is NOT_FILTERING
    clean = reached("alpha", 6) + blocked("alpha", 4)
    assert grade(clean + reached("beta")).verdict is PARTIAL


def test_the_numbers_are_those_of_the_method() -> None:
    assert [p_value_ppm(n) for n in (3, 6, 10)] == [50_000, 1083, 6]
    assert [round(bound_ppm(n), -4) for n in (6, 10, 30, 59)] == [390_000, 260_000, 100_000, 50_000]


@given(st.integers(1, 200))
def test_the_numbers_never_promise_more_than_is_true(n: int) -> None:
    assert p_value_ppm(n) * comb(2 * n, n) >= 1_000_000
    assert (1 - bound_ppm(n) / 1_000_000) ** n <= 0.05 + 1e-9


@st.composite
def many_rounds(draw: st.DrawFn) -> list[Round]:
    found = []
    for name, (operator, kind) in BEACONS.items():
        results = st.sampled_from(OF_COVERS if kind is BeaconKind.COVER else OF_PAIRS)
        found += [
            Round("2026-11-21T12:00:00.000000Z", name, operator, kind, result, lost)
            for result, lost in draw(st.lists(st.tuples(results, st.integers(0, 2)), max_size=14))
        ]
    return draw(st.permutations(found))


@given(many_rounds())
def test_filtering_is_never_concluded_from_less(seen: list[Round]) -> None:
    graded = grade(seen)
    if graded.verdict is not FILTERING:
        assert graded.p_value_ppm is graded.bound_ppm is None
        return
    deciding = [one for one in graded.beacons if one.says == "blocked"]
    assert len({one.operator for one in deciding}) >= 2
    assert all(one.blocked >= MIN_ROUNDS and one.reached == one.ambiguous == 0 for one in deciding)
    assert graded.n == min(one.blocked for one in deciding)
    assert not any(one.says in {"reached", "mixed", "exposed"} for one in graded.beacons)


@given(many_rounds(), st.sampled_from(["alpha", "beta"]))
def test_one_round_that_reached_always_ends_filtering(seen: list[Round], beacon: str) -> None:
    assert grade(seen + reached(beacon, 1)).verdict is not FILTERING


DISCARDED = {RoundResult.LOST, RoundResult.UNWITNESSED}


@given(many_rounds(), st.integers(1, 8))
def test_a_window_keeps_the_newest_that_count_of_each_beacon_in_order(seen: list[Round], length: int) -> None:
    kept = window(seen, length)
    for name in BEACONS:
        of = [one for one in seen if one.beacon == name][-KEPT_WINDOWS * length :]
        found = [one for one in kept if one.beacon == name]
        assert found == of[len(of) - len(found) :]
        counting = [one for one in found if one.result not in DISCARDED]
        assert counting == [one for one in of if one.result not in DISCARDED][-length:]


def test_what_a_lossy_path_lost_pushes_no_evidence_out_until_a_whole_window_is_twice_lost() -> None:
    lost = rounds("alpha", RoundResult.LOST, 1, 1)
    seen = blocked("alpha", 10) + blocked("beta", 10)
    assert grade(window(seen + lost * 24, 10)).verdict is FILTERING
    assert grade(window(seen + lost * 25, 10)).verdict is INCONCLUSIVE
    assert grade(window(seen + lost * 5 + reached("alpha", 1), 10)).verdict is not FILTERING


def told(verdict: RovVerdict) -> Grade:
    return msgspec.structs.replace(grade([]), verdict=verdict)


def test_steps_down_are_made_at_once_and_steps_up_after_a_full_window() -> None:
    for worse in (NOT_FILTERING, PARTIAL, INCONCLUSIVE):
        assert comes_into_force(FILTERING, told(worse), fresh=0, full=10)
        assert not comes_into_force(worse, told(FILTERING), fresh=9, full=10)
        assert comes_into_force(worse, told(FILTERING), fresh=10, full=10)
    assert not comes_into_force(NOT_FILTERING, told(PARTIAL), fresh=9, full=10)
    assert comes_into_force(PARTIAL, told(NOT_FILTERING), fresh=0, full=10)
    assert not comes_into_force(PARTIAL, told(PARTIAL), fresh=99, full=10)


SINCE = "2026-11-20T00:00:00.000000Z"


def fresh(seen: list[Round], since: str = SINCE) -> int:
    return fresh_rounds(seen, grade(seen), since)


def test_fresh_rounds_are_those_since_anything_spoke_against_filtering() -> None:
    assert fresh(blocked("alpha", 10) + blocked("beta", 7) + cover(A)) == 7
    graded = grade(blocked("alpha", 10) + blocked("beta", 10))
    for against in (reached("beta", 1), rounds("beta", RoundResult.ROA, 1), cover(B, 1)):
        seen = blocked("alpha", 9) + blocked("beta", 9) + against + blocked("alpha", 4) + blocked("beta", 3)
        assert fresh_rounds(seen, graded, SINCE) == 3
    lost = blocked("alpha", 5) + rounds("alpha", RoundResult.LOST, 20, 1) + blocked("alpha", 5) + blocked("beta")
    assert fresh(lost) == 10


def test_fresh_rounds_of_the_rest_are_those_since_the_last_step() -> None:
    seen = reached("alpha", 4) + blocked("alpha", 4) + reached("beta")
    assert (fresh(seen), fresh(seen, "2026-11-22T00:00:00.000000Z")) == (8, 0)


def test_an_egress_takes_its_worst() -> None:
    assert worst([FILTERING, PARTIAL]) is PARTIAL
    assert worst([INCONCLUSIVE, NOT_FILTERING, FILTERING]) is NOT_FILTERING
    assert worst([FILTERING, FILTERING]) is FILTERING
    assert worst([]) is INCONCLUSIVE
