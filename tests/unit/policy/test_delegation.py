"""CNAME chains: how long, and where they may end."""

from __future__ import annotations

import pytest

from appliance.policy.delegation import DelegationRules, too_long, wrong_target

RULES = DelegationRules(max_chain=3, ca_zones=("dcv.ca.example",))


@pytest.mark.parametrize("length", range(6))
def test_length(length: int) -> None:
    assert (too_long([f"n{i}.example." for i in range(length)], RULES) is None) is (length <= 3)


@pytest.mark.parametrize(
    ("chain", "expected", "right"),
    [
        ([], None, True),
        ([], "a1.dcv.ca.example", True),
        (["other.example."], None, True),
        (["other.example."], "a1.dcv.ca.example", True),
        (["a1.dcv.ca.example."], "a1.dcv.ca.example", True),
        (["A1.dcv.CA.example."], "a1.DCV.ca.example", True),
        (["x.example.", "a1.dcv.ca.example."], "a1.dcv.ca.example", True),
        (["a1.dcv.ca.example."], "a2.dcv.ca.example", False),
        (["a1.dcv.ca.example."], None, False),
        (["dcv.ca.example."], "a1.dcv.ca.example", False),
        (["a1.dcv.ca.example.", "other.example."], "a2.dcv.ca.example", True),
        (["notdcv.ca.example."], None, True),
    ],
)
def test_targets(chain: list[str], expected: str | None, right: bool) -> None:
    assert (wrong_target(chain, RULES, expected) is None) is right
