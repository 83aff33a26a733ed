"""The operator's acts by `mpicctl`, against the whole appliance."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.evidence.audit import Scope, verify_store
from appliance.linux.clock import clock_state
from tests.e2e.asking import caa, decide
from tests.e2e.coordinator import settings
from tests.e2e.dates import on_day
from tests.lab import wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

MPICCTL = Path(sys.executable).parent / "mpicctl"


def mpicctl(appliance: Appliance, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(MPICCTL), "--config", str(appliance.config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


def told(appliance: Appliance, *arguments: str) -> Any:
    return json.loads(mpicctl(appliance, *arguments, "--json").stdout)


def test_a_drained_perspective_stays_so_until_it_is_taken_back(appliance: Appliance) -> None:
    rest = set(appliance.codes) - {"ams"}
    drained = mpicctl(appliance, "drain", "ams")
    assert (drained.stdout, drained.stderr) == ("ams is drained.\n", "")
    try:
        assert decide(appliance, caa("free.example"))["quorum"] == "5/5"
        appliance.kill("mpicd")
        appliance.start_coordinator()
        wait_until(appliance.ready, 30, "mpicd is back", 0.05)
        appliance.wait_for(rest)
        assert decide(appliance, caa("free.example"))["quorum"] == "5/5"
        (shown,) = [one for one in told(appliance, "status")["perspectives"] if one["code"] == "ams"]
        assert shown["drained"]["uid"] == 0
        assert mpicctl(appliance, "drain", "home").returncode == 1
        watched = mpicctl(appliance, "watch", "--count", "2", "--interval", "0.1")
        assert watched.returncode == 0
        assert len([line for line in watched.stdout.splitlines() if "ams: drained by root" in line]) == 1
    finally:
        assert mpicctl(appliance, "undrain", "ams").returncode == 0
    appliance.wait_for(set(appliance.codes))
    assert decide(appliance, caa("free.example"))["quorum"] == "6/6"
    assert verify_store(appliance.settings.database, Scope(deep=True, replay=True)).problems == []


def test_a_record_from_the_future_is_overruled_by_a_clock_that_is_held_and_by_no_other(appliance: Appliance) -> None:
    with on_day(appliance, date(2036, 2, 29)):
        answer = decide(appliance, caa("free.example"))
        assert answer["policy"]["date"] == "2036-02-29"
        assert answer["warnings"][0].startswith("clock.require_synchronised is false")
        assert any("mpicctl clock accept-date" in warning for warning in answer["warnings"])
        recorded = json.loads(mpicctl(appliance, "evidence", "show", str(answer["receipt"]["seq"]), "--json").stdout)
        assert answer["warnings"] == recorded["records"][0]["record"]["warnings"]
        held = clock_state().synchronised
        accepted = mpicctl(appliance, "clock", "accept-date")
        assert accepted.returncode == (0 if held else 1)
        assert held or "the kernel's clock is not synchronised" in accepted.stdout
        day = told(appliance, "status")["policy"]["date"]
        assert day == (datetime.now(UTC).date().isoformat() if held else "2036-02-29")
        assert verify_store(appliance.settings.database, Scope(deep=True, replay=True)).problems == []


def test_by_a_clock_that_nothing_ever_held_nothing_is_decided_after_a_restart(appliance: Appliance) -> None:
    if clock_state().synchronised:
        pytest.skip("this machine's clock is held")
    with settings(appliance, "clock", require_synchronised="true", grace_s="600"):
        refused = appliance.ask("POST", "/mpic", caa("free.example"))
        assert (refused.status_code, "has not been since mpicd started" in refused.text) == (503, True), refused.text
        assert appliance.ask("GET", "/readyz").status_code == 503
    assert decide(appliance, caa("free.example"))["is_valid"] is True
