"""Expressions that cannot backtrack: they mean what Python's mean, and end in bounded work."""

from __future__ import annotations

import re
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy import pattern_syntax
from appliance.policy.pattern import Pattern, WorkExceeded
from appliance.policy.pattern_syntax import BadPattern

ATOMS = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", r"\w", r"\d", r"\.", "^", "$", r"\A", "1", "[a-c1]", r"[\d_-]", r"\S", "[]a]"]
)
QUANTIFIERS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "+?", "{0}"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, QUANTIFIERS).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.text("abc1._-", max_size=10))
def test_means_what_python_means(expression: str, text: str) -> None:
    expected = re.search(expression.encode(), text.encode()) is not None
    assert Pattern(expression).search(text.encode()) is expected


@pytest.mark.parametrize("text", [b"", b"a\nb", bytes(range(256)), "é".encode()])
def test_every_byte(text: bytes) -> None:
    for expression in (r"^.*$", r"\s", r"[^\w]", r"\n", r"a.b", r"\D\D"):
        expected = re.search(expression.replace("$", r"\Z").encode(), text) is not None
        assert Pattern(expression).search(text) is expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (r"^\w*TOKENVAL\w*$", b"a" * 65536),
        (r"\w*TOKENVAL\w*", b"a" * 65536),
        (r"(a*)*b", b"a" * 65536),
        (r"(a|aa)+$", b"a" * 65535 + b"b"),
        (r"(\w+\s?)+X", b"a b" * 20000),
        (r"(.*,){10}P", b"1," * 30000),
    ],
)
def test_what_backtracks_elsewhere_is_linear_here(expression: str, text: bytes) -> None:
    assert Pattern(expression).search(text) is False


def test_work_is_bounded() -> None:
    text = bytes(Random(1).choices(b"ab", k=65536))
    with pytest.raises(WorkExceeded):
        Pattern("(a|b)*a(a|b){200}c").search(text)


@pytest.mark.parametrize(
    "expression",
    [
        *["(", ")", "[", "[a", "*a", "a**", "a{", "a{1", "a{2,1}", "a{1000}", "a{,3}", "(?=a)", "(?i)a", "(?P<n>a)"],
        *[
            r"\b",
            r"\1",
            r"\x41",
            "\\",
            "[z-a]",
            "[[a]]",
            "é",
            "a\nb",
            "a" * 501,
            "(a{99}){99}",
            "(" * 30 + ")" * 30,
            "{",
        ],
    ],
)
def test_bad_patterns(expression: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(expression)


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_a_bad_one(text: str) -> None:
    with suppress(BadPattern, WorkExceeded):
        Pattern(text).search(b"some text, 123")


def test_a_repetition_that_is_too_large_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    joined = pattern_syntax._joined

    def counting(parts: list[tuple[pattern_syntax.Instruction, ...]]) -> tuple[pattern_syntax.Instruction, ...]:
        built.append(sum(map(len, parts)))
        return joined(parts)

    monkeypatch.setattr(pattern_syntax, "_joined", counting)
    for text in ("(a{900}){0,900}", "(a{900}){900}", "(a{400}b{400}){2,}"):
        with pytest.raises(pattern_syntax.BadPattern, match="1000 instructions"):
            pattern_syntax.compile_pattern(text)
    assert max(built) <= 2 * pattern_syntax.MAX_INSTRUCTIONS
