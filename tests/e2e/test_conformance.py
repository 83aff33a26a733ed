"""Every row of the conformance table, through all perspectives: each sees the same, and says why."""

from __future__ import annotations

import pytest

from tests.conformance.row import Row, wrong
from tests.conformance.table import TABLE
from tests.e2e.asking import decide
from tests.hostile.service import Hostile
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.target}: {row.rule}")
def test_row(appliance: Appliance, hostile: Hostile, row: Row) -> None:
    assert wrong(row, decide(appliance, row.body), appliance.codes) is None
