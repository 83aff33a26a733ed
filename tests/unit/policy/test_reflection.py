"""A value is found in a request however it is encoded there, and not where it is not."""

from __future__ import annotations

from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.reflection import MAX_DECODINGS, EncodedTooOften, stands_in_request

VALUES = st.text(ascii_letters + digits + "é -_./+=:", min_size=8, max_size=40).filter(
    lambda value: sum(character.isalnum() for character in value) >= 8
)


def encoded(text: str, times: list[int]) -> str:
    """Each character percent-encoded as often as `times` says, in turn."""
    pieces = []
    for index, character in enumerate(text):
        often = times[index % len(times)]
        if often == 0 and character.isascii() and character != " ":
            pieces.append(character)
            continue
        case = "{:02x}" if index % 2 else "{:02X}"
        percent = "%" + "25" * max(0, often - 1)
        pieces += [percent + case.format(octet) for octet in character.encode()]
    return "".join(pieces)


@given(VALUES, st.lists(st.integers(0, 5), min_size=1, max_size=7), st.sampled_from(["/a/", "/a?q=", "/a;b=", "/"]))
def test_found_in_every_encoding(value: str, times: list[int], before: str) -> None:
    assert stands_in_request(value, f"http://n.example{before}{encoded(value, times)}", "")
    assert stands_in_request(value.swapcase(), "http://n.example/", f"X-A: {encoded(value, times)}")


@given(VALUES, st.lists(st.integers(0, 5), min_size=1, max_size=7))
def test_not_found_where_it_is_not(value: str, times: list[int]) -> None:
    other = "".join("x" if character.isalnum() else character for character in value)
    assert stands_in_request(value, f"http://n.example/{encoded(other, times)}", "") is (
        set(value.casefold()) <= {*other}
    )


def test_the_work_is_bounded_whatever_is_encoded_how_often() -> None:
    chain = "%" + "25" * 1000
    with pytest.raises(EncodedTooOften):
        stands_in_request("secret123", f"http://n.example/{chain}41", "")
    with pytest.raises(EncodedTooOften):
        stands_in_request(chain[:500] + "41", "http://n.example/", "")
    assert not stands_in_request("secret123", "http://n.example/%" + "25" * (MAX_DECODINGS - 1) + "41", "")
