"""When the exit counts as proven."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.net.http.exchange import Answer
from appliance.perspective.anchors import AnchorFailed, Eye, Sighting, Sightings, _address_in, eyes, judge

EXPECTED = frozenset({"198.18.5.5", "2001:db8:5::5"})
ASKED = eyes(["https://one.example/", "https://two.example/"], frozenset({4, 6}))
PLAIN = eyes(["http://one.example/"], frozenset({4, 6}))
NOW_S, VALID_S = 10_000.0, 3600.0


def _sighting(address: str, at_s: float = 9000.0, *, authenticated: bool = True) -> Sighting:
    return Sighting(address, at_s, datetime(2026, 1, 1, tzinfo=UTC), authenticated)


def _seen(
    *sightings: tuple[str, int, str, float], authenticated: bool = True, asked: tuple[Eye, ...] = ASKED
) -> Sightings:
    seen = Sightings()
    for host, version, address, at_s in sightings:
        for eye in asked:
            if (eye.url.host, eye.version) == (host, version):
                seen.add(eye, _sighting(address, at_s, authenticated=authenticated))
    return seen


GOOD = (("one.example", 4, "198.18.5.5", 9000.0), ("one.example", 6, "2001:db8:5::5", 9000.0))


@pytest.mark.parametrize(
    ("sightings", "reason"),
    [
        (GOOD, ""),
        ((), "no anchor whose certificate verifies has seen its IPv4 egress address"),
        (GOOD[:1], "no anchor whose certificate verifies has seen its IPv6 egress address"),
        ((GOOD[0], ("one.example", 6, "2001:db8:5::5", NOW_S - VALID_S - 1)), "verifies has seen its IPv6"),
        ((*GOOD, ("two.example", 4, "198.18.66.66", 9900.0)), "https://two.example/ over IPv4 saw 198.18.66.66"),
        ((*GOOD, ("two.example", 4, "198.18.66.66", NOW_S - VALID_S - 1)), ""),
    ],
)
def test_each_version_needs_one_recent_sighting_and_none_that_differs(
    sightings: tuple[tuple[str, int, str, float], ...], reason: str
) -> None:
    reasons = judge(ASKED, _seen(*sightings), EXPECTED, NOW_S, VALID_S)
    assert bool(reasons) is bool(reason)
    assert reason in "; ".join(reasons)


def test_what_can_be_forged_proves_nothing_and_contradicts() -> None:
    assert judge(ASKED, _seen(*GOOD, authenticated=False), EXPECTED, NOW_S, VALID_S) == (
        "no anchor whose certificate verifies has seen its IPv4 egress address",
        "no anchor whose certificate verifies has seen its IPv6 egress address",
    )
    seen = _seen(*GOOD)
    seen.add(ASKED[-1], _sighting("2001:db8::66", authenticated=False))
    (reason,) = judge(ASKED, seen, EXPECTED, NOW_S, VALID_S)
    assert "saw 2001:db8::66, which is not a configured egress address" in reason


def test_a_forged_answer_neither_lifts_a_contradiction_nor_replaces_a_proof() -> None:
    seen = _seen(*GOOD, ("two.example", 4, "198.18.66.66", 9900.0))
    two = next(eye for eye in ASKED if (eye.url.host, eye.version) == ("two.example", 4))
    seen.add(two, _sighting("198.18.5.5", 9950.0, authenticated=False))
    (reason,) = judge(ASKED, seen, EXPECTED, NOW_S, VALID_S)
    assert "saw 198.18.66.66" in reason
    seen.add(two, _sighting("198.18.5.5", 9960.0))
    assert judge(ASKED, seen, EXPECTED, NOW_S, VALID_S) == ()
    seen.add(two, _sighting("198.18.66.66", 9970.0, authenticated=False))
    assert judge(ASKED, seen, EXPECTED, NOW_S, VALID_S) != ()
    seen.add(two, _sighting("198.18.5.5", 9980.0))
    assert judge(ASKED, seen, EXPECTED, NOW_S, VALID_S) == ()


def test_http_anchors_alone_are_still_listened_to() -> None:
    seen = _seen(*GOOD, authenticated=False, asked=PLAIN)
    assert judge(PLAIN, seen, EXPECTED, NOW_S, VALID_S) == ()
    assert judge(PLAIN, Sightings(), EXPECTED, NOW_S, VALID_S)[0] == "no anchor has seen its IPv4 egress address"
    # Of one IP version only, an https:// anchor is what counts for it.
    both = PLAIN + eyes(["https://198.18.9.9/"], frozenset({4, 6}))
    assert judge(both, seen, EXPECTED, NOW_S, VALID_S) == (
        "no anchor whose certificate verifies has seen its IPv4 egress address",
    )


def test_without_anchors_nothing_is_asked() -> None:
    assert judge((), Sightings(), EXPECTED, NOW_S, VALID_S) == ()


def test_an_anchor_s_address_is_asked_over_its_own_version_alone() -> None:
    found = eyes(["http://198.18.9.9/", "http://[2001:db8::9]/x", "http://name.example/"], frozenset({4, 6}))
    assert [(eye.url.host, eye.version) for eye in found] == [
        ("198.18.9.9", 4),
        ("2001:db8::9", 6),
        ("name.example", 4),
        ("name.example", 6),
    ]
    assert eyes(["http://[2001:db8::9]/"], frozenset({4})) == ()


def test_the_answer_is_an_address_and_nothing_else() -> None:
    assert _address_in(Answer(200, (), b"2001:DB8::5\r\n", body_cut=False)) == "2001:db8::5"
    for answer in (
        Answer(404, (), b"198.18.5.5", body_cut=False),
        Answer(200, (), b"198.18.5.5", body_cut=True),
        Answer(200, (), b"<html>", body_cut=False),
        Answer(200, (), b"\xff", body_cut=False),
    ):
        with pytest.raises(AnchorFailed):
            _address_in(answer)
