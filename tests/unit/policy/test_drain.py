"""What may be drained depends on what the rest could do by itself, and on nothing else."""

from __future__ import annotations

from datetime import date
from itertools import combinations

import pytest

from appliance.policy.drain import objections
from appliance.policy.fleet import shortfalls
from tests.unit.coordinator.workers import CODES, FLEET

FOUR, FIVE = date(2026, 11, 21), date(2026, 12, 15)


@pytest.mark.parametrize(("day", "most"), [(FOUR, 2), (FIVE, 1)])
def test_as_many_as_leave_a_compliant_set(day: date, most: int) -> None:
    for count in range(len(CODES)):
        for drained in combinations(CODES[1:], count):
            refused = objections(FLEET, drained, CODES[0], day)
            assert bool(refused) is bool(shortfalls(FLEET.without({*drained, CODES[0]}), day))
            assert bool(refused) is (count + 1 > most)


def test_the_primary_and_strangers_are_none_to_drain() -> None:
    assert "primary" in objections(FLEET, (), FLEET.primary.code, FOUR)[0]
    assert CODES[0] in objections(FLEET, (), "nowhere", FOUR)[0]
