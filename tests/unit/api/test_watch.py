"""`mpicctl watch` over what a served appliance says: a picture on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from rich.text import Text

from appliance.cli.client import CannotAsk, Coordinator
from appliance.cli.watch import follow, looks, show_live
from appliance.model.status import ApplianceStatus
from tests.unit.api.serving import serving


async def _told(directory: Path) -> list[ApplianceStatus]:
    """The status before and after a drain."""
    told = []
    async with serving(directory) as on:
        for _ in range(2):
            told.append(msgspec.json.decode((await on.operators.get("/status")).content, type=ApplianceStatus))
            await on.operators.post("/drain", json={"perspective": "ams"})
    return told


async def test_a_line_for_each_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = await _told(tmp_path)
    follow([before, before, after, Text("mpicd is away"), after])
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines.count("ready") == 2
    assert lines.count("ams: usable") == 1
    assert len([line for line in lines if line.startswith("ams: drained by")]) == 2
    assert lines.index("mpicd is away") > lines.index("ams: usable")


async def test_a_picture_on_a_terminal(tmp_path: Path) -> None:
    before, after = await _told(tmp_path)
    screen = io.StringIO()
    show_live(Console(file=screen, force_terminal=True, width=200), [before, after, Text("mpicd is away")])
    shown = screen.getvalue()
    assert "Amsterdam" in shown
    assert "drained by" in shown
    assert shown.rstrip().count("mpicd is away") >= 1


# httpcore leaves a socket that could not connect to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_appliance_that_is_away_is_looked_for_again(tmp_path: Path) -> None:
    nobody = Coordinator(tmp_path / "operator.sock")
    seen = list(looks(nobody, 0.01, 3))
    assert len(seen) == 3
    assert all(isinstance(view, Text) and "Is mpicd running" in view.plain for view in seen)
    with pytest.raises(CannotAsk):
        nobody.get("/status")
