"""What is hashed is RFC 8785's canonical form, and nothing is lost on the way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from appliance.evidence import DecisionRecord, EventRecord, utc_text
from appliance.evidence.record import EvidenceRecord, decode, encode
from appliance.linux.clock import ClockState, clock_state
from appliance.model.observation import Observation
from tests.unit.evidence.samples import decision, event

# The model's rule: whole numbers below 2**53. Texts: anything that UTF-8 can hold.
st.register_type_strategy(int, st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1))
st.register_type_strategy(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
# The strategies for types do not know of limits within limits.
WARNINGS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=8).map(tuple)
st.register_type_strategy(
    Observation, st.builds(Observation, **dict.fromkeys(Observation.__struct_fields__, ...) | {"warnings": WARNINGS})
)
DECISIONS = st.from_type(DecisionRecord)
EVENTS = st.from_type(EventRecord)


def canonical(record: EvidenceRecord) -> bytes:
    return rfc8785.dumps(msgspec.to_builtins(record))


@given(st.one_of(DECISIONS, EVENTS))
def test_encoding_is_the_canonical_form(record: EvidenceRecord) -> None:
    assert encode(record) == canonical(record)


@given(st.one_of(DECISIONS, EVENTS))
def test_decoding_gives_the_record_back(record: EvidenceRecord) -> None:
    assert decode(encode(record)) == record


@given(st.text(max_size=30))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    record = decision(1, requested=text)
    if any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(UnicodeEncodeError):
            encode(record)
    else:
        assert encode(record) == canonical(record)


def test_a_decision_of_six_remotes_stays_small() -> None:
    assert len(encode(decision(1))) < 10_000


def test_kinds_are_told_apart() -> None:
    assert isinstance(decode(encode(decision(1))), DecisionRecord)
    assert isinstance(decode(encode(event(1))), EventRecord)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-720, 720))  # noqa: DTZ001
def test_times_are_utc_and_compare_as_texts(moment: datetime, offset_min: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    later = aware + timedelta(microseconds=1)
    assert datetime.fromisoformat(utc_text(aware)) == aware
    assert utc_text(aware) < utc_text(later)


def test_the_kernel_says_what_its_clock_is() -> None:
    state = clock_state()
    assert isinstance(state, ClockState)
    assert state.max_error_us >= 0
