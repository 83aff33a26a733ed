"""The operator's acts by `mpicctl`, against the whole appliance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.evidence.audit import Scope, verify_store
from tests.e2e.asking import caa, decide
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
