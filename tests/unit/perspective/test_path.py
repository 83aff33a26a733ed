"""Three rounds missed are down, one answered is up; a gateway that never answers blocks nobody."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from appliance.perspective.echo import payload_bytes
from appliance.perspective.path import MISSES_UNTIL_DOWN, PathState

ROUNDS = st.lists(st.one_of(st.none(), st.integers(1, 10**6)), max_size=12)


@given(ROUNDS)
def test_a_far_end_that_must_answer_is_down_until_it_does_and_after_three_misses(rounds: list[int | None]) -> None:
    path = PathState(must_answer=True)
    assert not path.up
    for rtt_us in rounds:
        path.round(rtt_us)
    last = rounds[-MISSES_UNTIL_DOWN:]
    assert path.up is any(rtt_us is not None for rtt_us in last)
    assert path.rtt_us == (rounds[-1] if rounds else None)
    assert path.missing is (not rounds or rounds[-1] is None)


@given(ROUNDS)
def test_a_gateway_that_never_answered_blocks_nobody_but_one_that_did_must_go_on(rounds: list[int | None]) -> None:
    path = PathState(must_answer=False)
    for rtt_us in rounds:
        path.round(rtt_us)
    answered = any(rtt_us is not None for rtt_us in rounds)
    assert path.up is (not answered or any(rtt_us is not None for rtt_us in rounds[-MISSES_UNTIL_DOWN:]))


def test_a_cut_path_is_up_with_the_next_answer() -> None:
    path = PathState(must_answer=True)
    path.round(500)
    path.cut()
    assert not path.up
    assert path.rtt_us is None
    path.round(700)
    assert path.up


def test_the_large_echo_request_fills_the_mtu() -> None:
    assert payload_bytes(ip_address("10.0.0.1"), 1280) == 1280 - 20 - 8
    assert payload_bytes(ip_address("fd00::1"), 1280) == 1280 - 40 - 8
    assert payload_bytes(ip_address("fd00::1"), None) < 64
