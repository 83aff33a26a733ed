"""The pure parts: the choice of fewer perspectives, the policy's date, and when a verdict can no longer change."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.coordinator.day import policy_day
from appliance.coordinator.identifiers import parse_identifier
from appliance.coordinator.selection import choose, load_secret
from appliance.coordinator.verdicts import Rules
from appliance.errors import ConfigError
from tests.unit.coordinator.workers import CODES, FLEET, REMOTES

NAMES = [parse_identifier(f"n{number}.example.com") for number in range(200)]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_fewer_are_the_same_for_a_name_and_span_regions(count: int) -> None:
    for name in NAMES:
        chosen = choose(REMOTES, count, name, bytes(32))
        assert chosen == choose(REMOTES, count, name, bytes(32))
        assert len(chosen) == count == len({site.code for site in chosen})
        assert len({site.rir for site in chosen}) == min(count, 5)
        assert list(chosen) == [site for site in REMOTES if site in chosen]


def test_the_choice_is_keyed_and_spread() -> None:
    one = [choose(REMOTES, 4, name, bytes(32)) for name in NAMES]
    other = [choose(REMOTES, 4, name, b"\1" * 32) for name in NAMES]
    assert one != other
    uses = Counter(site.code for chosen in one for site in chosen)
    assert set(uses) == set(CODES)
    assert min(uses.values()) > len(NAMES) / 5


def test_all_are_all() -> None:
    assert choose(REMOTES, 6, NAMES[0], bytes(32)) == REMOTES


def test_the_secret_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    path = tmp_path / "selection.key"
    secret = load_secret(path)
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_secret(path) == secret
    assert [entry.name for entry in tmp_path.iterdir()] == ["selection.key"]
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="0600"):
        load_secret(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="32 bytes"):
        load_secret(path)


def test_the_policys_date_is_the_latest() -> None:
    early, late = datetime(2026, 6, 14, 23, 59, tzinfo=UTC), datetime(2026, 6, 15, 0, 0, tzinfo=UTC)
    assert policy_day(late, None, date(2026, 6, 1)) == date(2026, 6, 15)
    assert policy_day(early, late, date(2026, 6, 1)) == date(2026, 6, 15)
    assert policy_day(early, None, date(2026, 7, 1)) == date(2026, 7, 1)


STATES = st.sampled_from([True, False, None])


@given(
    primary=STATES,
    remotes=st.fixed_dictionaries(dict.fromkeys(CODES, STATES)),
    quorum_count=st.integers(4, 6),
    completion=st.tuples(st.booleans(), *[st.booleans()] * len(CODES)),
    day=st.sampled_from([date(2026, 11, 21), date(2026, 12, 15)]),
)
def test_a_settled_verdict_does_not_change(
    primary: bool | None,
    remotes: dict[str, bool | None],
    quorum_count: int,
    completion: tuple[bool, ...],
    day: date,
) -> None:
    rules = Rules(FLEET, day, quorum_count)
    if rules.settled(primary=primary, remotes=remotes):
        worst = {code: bool(passed) for code, passed in remotes.items()}
        final = {
            code: completion[index] if passed is None else passed
            for index, (code, passed) in enumerate(remotes.items(), 1)
        }
        settled = rules.verdict(primary=bool(primary), remotes=worst)
        reached = rules.verdict(primary=completion[0] if primary is None else primary, remotes=final)
        assert reached.is_valid is settled.is_valid
    else:
        assert None in (primary, *remotes.values())


def test_a_verdict_is_settled_as_soon_as_it_is_known() -> None:
    rules = Rules(FLEET, date(2026, 11, 21), 4)
    four = dict.fromkeys(CODES[:4], True) | dict.fromkeys(CODES[4:])
    assert rules.settled(primary=True, remotes=four)
    assert not rules.settled(primary=None, remotes=four)
    assert rules.settled(primary=False, remotes=dict.fromkeys(CODES))
    assert rules.settled(primary=None, remotes=dict.fromkeys(CODES[:3], False) | dict.fromkeys(CODES[3:]))
