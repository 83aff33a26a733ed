"""Examples, manual pages and packages as files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

from appliance.config import load
from appliance.policy.fleet import fleet_from, shortfalls
from egress.config import EgressConfig

REPOSITORY = Path(__file__).parents[2]
PACKAGING = REPOSITORY / "packaging"
DAY_OF_LAST_ROW = date(2026, 12, 15)


def test_the_appliances_example_complies() -> None:
    fleet = fleet_from(load(PACKAGING / "examples" / "appliance.toml"))
    assert shortfalls(fleet, DAY_OF_LAST_ROW) == []


def test_the_egress_nodes_example_is_valid() -> None:
    EgressConfig.model_validate(tomllib.loads((PACKAGING / "examples" / "egress.toml").read_text()))


@pytest.mark.parametrize(
    ("package", "pages"),
    [
        (
            "mpic-appliance",
            {
                "man1/mpicctl.1",
                "man7/mpic-appliance.7",
                "man8/mpic-feed.8",
                "man8/mpicd.8",
                "man8/mpic-perspective.8",
                "man8/mpic-tunneld.8",
            },
        ),
        ("mpic-egress", {"man8/mpic-egress.8", "man8/mpic-echo.8"}),
    ],
)
def test_every_command_has_a_page_without_faults(package: str, pages: set[str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGING / "man" / "generate.py", package, tmp_path], check=True)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.?")}
    assert found == pages
    lint = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *(tmp_path / page for page in sorted(pages))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (lint.returncode, lint.stdout) == (0, "")


def test_every_command_of_the_project_has_a_page() -> None:
    commands = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    text = (PACKAGING / "man" / "generate.py").read_text()
    assert [name for name in commands if f'    "{name}": Command(' not in text] == []


def test_the_egress_lock_agrees_with_the_runtime_lock() -> None:
    pinned = {
        name: dict(
            re.findall(r"^([a-z0-9-]+)==(\S+)", (REPOSITORY / "locks" / f"{name}.txt").read_text(), re.MULTILINE)
        )
        for name in ("egress", "runtime")
    }
    assert pinned["egress"].items() <= pinned["runtime"].items()
    assert "pydantic" in pinned["egress"]
