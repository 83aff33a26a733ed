"""Whatever a caller sends is a question or a refusal that names what is wrong, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.draft.request import DraftAsked, parse_draft
from appliance.api.errors import Malformed
from appliance.api.openmpic.request import Asked, Terms, parse_request
from appliance.model.identifier import Identifier
from appliance.policy.identifiers import identifier_problem
from tests.unit.api.test_draft import DNS
from tests.unit.api.test_parameters import METHODS
from tests.unit.exceptions import EXCEPTIONS

DAY = date(2026, 1, 1)
TERMS = Terms(("ca.example",), caller_is_primary=False, day=DAY, exceptions=EXCEPTIONS)
Parse = Callable[[bytes], Asked | DraftAsked]


def mpic(body: bytes) -> Asked:
    return parse_request(body, caller="local:uid=0", terms=TERMS)


def draft(body: bytes) -> DraftAsked:
    return parse_draft(body, ("ca.example",), DAY, EXCEPTIONS)


PARSERS = pytest.mark.parametrize("parse", [mpic, draft])

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
REQUESTS: list[dict[str, Any]] = [
    {"check_type": "caa", "domain_or_ip_target": "example.com", "caa_check_parameters": {"caa_domains": ["a.example"]}},
    *({"check_type": "dcv", "domain_or_ip_target": "example.com", "dcv_check_parameters": one} for one, _ in METHODS),
    DNS,
]


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """A request of which one member is another value, or is away, or is one that nobody knows."""
    body = json.loads(json.dumps(draw(st.sampled_from(REQUESTS))))
    inner = [body, *(value for value in body.values() if isinstance(value, dict))]
    place = draw(st.sampled_from(inner))
    key = draw(st.sampled_from([*place, "surprise"]))
    if draw(st.booleans()):
        place[key] = draw(values)
    else:
        place.pop(key, None)
    return json.dumps(body).encode()


def asked_or_refused(parse: Parse, body: bytes) -> None:
    try:
        asked = parse(body)
    except Malformed:
        return
    identifier: Identifier = asked.identifier if isinstance(asked, DraftAsked) else asked.question.identifier
    assert identifier_problem(identifier) is None


@PARSERS
@given(st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_and_any_json(parse: Parse, body: bytes) -> None:
    asked_or_refused(parse, body)


@PARSERS
@given(nearly_right())
def test_requests_that_are_nearly_right(parse: Parse, body: bytes) -> None:
    asked_or_refused(parse, body)


@PARSERS
def test_nesting_without_end(parse: Parse) -> None:
    with pytest.raises(Malformed):
        parse(b'{"a":' * 100_000)
