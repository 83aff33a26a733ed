"""Every row of the conformance table, through all perspectives: each sees the same, and says why."""

from __future__ import annotations

import pytest

from tests.conformance.table import PASS, TABLE, Row
from tests.e2e.asking import decide
from tests.hostile.service import Hostile
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.target}: {row.rule}")
def test_row(appliance: Appliance, hostile: Hostile, row: Row) -> None:
    answer = decide(appliance, row.body)
    told = {
        part["perspective_code"]: PASS
        if part["check_response"]["check_passed"]
        else part["check_response"]["errors"][-1]["error_type"]
        for part in (answer["primary"], *answer["perspectives"])
    }
    assert told == dict.fromkeys(appliance.codes, row.expected), answer["perspectives"][0]["check_response"]["errors"]
    assert answer["is_valid"] is (row.expected == PASS)
    assert answer["quorum"] == ("6/6" if row.expected == PASS else "0/6")
