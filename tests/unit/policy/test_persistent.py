"""Persistent values: what shows control, to the second, and what hostile bytes do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.persistent import persistent_problem

URI = "https://ca.example/acct/1"
NOW = 1_800_000_000
ISSUERS = ("ca.example", "Other.CA.example")


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (f"ca.example; accounturi={URI}", True),
        (f"CA.Example;accounturi={URI}", True),
        (f"other.ca.example ; AccountURI = {URI}", True),
        (f"ca.example; accounturi={URI}; persistUntil={NOW}", True),
        (f"ca.example; accounturi={URI}; PERSISTUNTIL={NOW + 1}", True),
        (f"ca.example; persistUntil={NOW + 1}; accounturi={URI}; unknown=x", True),
        (f"ca.example; accounturi={URI}; persistUntil={NOW - 1}", False),
        (f"ca.example; accounturi={URI}; persistUntil=+{NOW + 1}", False),
        (f"ca.example; accounturi={URI}; persistUntil=0x{NOW:x}", False),
        (f"ca.example; accounturi={URI}; persistUntil={NOW}.5", False),
        (f"ca.example; accounturi={URI}; persistUntil=1_900_000_000", False),
        (f"ca.example; accounturi={URI}; persistUntil=", False),
        (f"ca.example; accounturi={URI}; persistUntil=" + "9" * 300, False),
        (f"ca.example; accounturi={URI}; persistUntil={NOW}; persistUntil={NOW + 9}", False),
        (f"ca.example; accounturi={URI}; accounturi={URI}", False),
        (f"ca.example; accounturi={URI}; x=1; X=2", False),
        (f"ca.example; accounturi={URI.upper()}", False),
        (f"ca.example; accounturi={URI}2", False),
        ("ca.example", False),
        ("ca.example;", False),
        (f"evil.example; accounturi={URI}", False),
        (f"; accounturi={URI}", False),
        (f"ca.example accounturi={URI}", False),
        (f"ca.example; accounturi={URI};", False),
        ("", False),
        ("\u0661", False),
    ],
)
def test_values(value: str, holds: bool) -> None:
    assert (persistent_problem(value.encode(), ISSUERS, URI, NOW) is None) is holds


@given(st.binary(max_size=300))
def test_hostile_bytes_show_nothing(value: bytes) -> None:
    if persistent_problem(value, ISSUERS, URI, NOW) is None:
        assert URI.encode() in value
        assert b"ca.example" in value.lower()


@given(st.text("ca.example; accounturi=https:/1persistUntil0", max_size=80))
def test_near_misses(value: str) -> None:
    if persistent_problem(value.encode(), ISSUERS, URI, NOW) is None:
        assert f"accounturi={URI}" in value.replace(" ", "").lower()
