"""How near a set is to refusing everything."""

from __future__ import annotations

from datetime import date

import pytest

from appliance.policy.margin import coming_shortfalls, single_losses
from tests.unit.coordinator.workers import CODES, FLEET


@pytest.mark.parametrize(
    ("day", "remotes", "warned"),
    [
        (date(2026, 10, 15), 4, False),
        (date(2026, 10, 16), 4, True),
        (date(2026, 12, 14), 4, True),
        (date(2026, 12, 15), 4, False),  # in force: a shortfall, and no longer a warning
        (date(2026, 12, 1), 5, False),
    ],
)
def test_a_date_is_announced_sixty_days_before(day: date, remotes: int, warned: bool) -> None:
    found = coming_shortfalls(FLEET.without(CODES[remotes:]), day)
    assert bool(found) is warned
    assert all("2026-12-15" in line and "at least 5" in line for line in found)


def test_who_may_be_lost_no_more() -> None:
    day = date(2026, 11, 21)
    assert single_losses(FLEET, day, CODES) == ()
    assert single_losses(FLEET, day, CODES[1:]) == ()
    four = CODES[2:]
    assert single_losses(FLEET, day, four) == tuple(sorted(four))
    assert single_losses(FLEET, day, CODES[3:]) == (), "there is nothing left to lose"


def test_the_only_one_of_a_second_region_is_no_margin() -> None:
    three = FLEET.without({"ams", "gru", "jnb"})  # New York, and Tokyo and Sydney in one region
    assert single_losses(three, date(2026, 4, 1), ["nyc", "tyo", "syd"]) == ("nyc",)
