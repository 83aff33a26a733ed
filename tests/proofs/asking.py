"""What `mpicctl perspectives --json` and `mpicctl proof` say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.appliance import Appliance

_MPICCTL = Path(sys.executable).parent / "mpicctl"


def mpicctl(appliance: Appliance, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    argv = [str(_MPICCTL), "--config", str(appliance.config), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    return done.returncode, done.stdout


def report(appliance: Appliance) -> dict[str, Any]:
    """`mpicctl perspectives --json`."""
    found: dict[str, Any] = json.loads(mpicctl(appliance, "perspectives", "--json")[1])
    return found


def failed(appliance: Appliance) -> dict[str, set[str]]:
    """By perspective code, which of its proofs failed; those with none are left out."""
    return _failed(report(appliance))


def failed_as_served(appliance: Appliance) -> dict[str, set[str]]:
    """The same without a process for each look, which would be most of the load."""
    return _failed(appliance.ask("GET", "/perspectives", operator=True).json())


def _failed(told: dict[str, Any]) -> dict[str, set[str]]:
    found = {
        one["code"]: {proof["kind"] for proof in one["proofs"] if proof["result"] == "failed"} for one in told["proofs"]
    }
    return {code: kinds for code, kinds in found.items() if kinds}
