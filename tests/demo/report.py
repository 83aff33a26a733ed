"""How the story is told: tables for people on a terminal, and `build/demo.json` for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.demo.ask import Decision, Part
from tests.lab import topology

_CITIES = {egress.code: f"{egress.place.city}, {egress.place.country}" for egress in topology.EGRESSES}
_CITIES[topology.PRIMARY.code] = f"{topology.PRIMARY.place.city}, {topology.PRIMARY.place.country}"


@dataclass(slots=True)
class Scene:
    """One scene and the decisions that were made in it."""

    name: str
    decisions: list[Decision] = field(default_factory=list)


class Teller:
    """Prints as it goes. `scenes` is what was told so far."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self._out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

    def say(self, text: str) -> None:
        """One line of the story."""
        self._out.print(text, markup=False)

    def print_table(self, table: Table) -> None:
        """A table of the story's."""
        self._out.print(table)

    def scene(self, name: str, title: str) -> None:
        """Begins a scene."""
        self.scenes.append(Scene(name))
        self._out.print()
        self._out.rule(f"[bold]{title}")

    def decision(self, decision: Decision) -> None:
        """Adds a decision to the scene, and shows who saw whom."""
        self.scenes[-1].decisions.append(decision)
        verdict = "[green]CORROBORATED[/]" if decision.is_valid else "[red]REFUSED[/]"
        wrong = "" if decision.as_expected else "  [bold white on red] NOT AS EXPECTED [/]"
        table = Table(
            title=f"{decision.check}  {decision.identifier}:  {verdict} {decision.quorum}{wrong}",
            title_justify="left",
            expand=False,
        )
        for heading in ("perspective", "place", "sees", "applicant saw", "attacker saw", "why not"):
            table.add_column(heading, overflow="fold", max_width=60)
        for part in (decision.primary, *decision.perspectives):
            table.add_row(*_row(part, primary=part is decision.primary))
        self._out.print(table)
        for reason in decision.reasons:
            self._out.print(f"  {reason}", markup=False, style="dim")


def write(path: Path, scenes: Sequence[Scene], uplink: Mapping[str, int], seconds: float) -> None:
    """`build/demo.json`."""
    path.parent.mkdir(exist_ok=True)
    document = {
        "scenes": [{"name": scene.name, "decisions": [_plain(one) for one in scene.decisions]} for scene in scenes],
        "uplink_capture": dict(uplink),
        "seconds": round(seconds, 1),
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _row(part: Part, *, primary: bool) -> tuple[str, ...]:
    label = f"{part.code} (primary)" if primary else part.code
    mark = "[green]✓[/]" if part.corroborates else "[red]✗[/]"
    return (label, _CITIES[part.code], mark, part.seen_by_target or "-", part.seen_by_attacker or "-", part.why)


def _plain(decision: Decision) -> dict[str, Any]:
    return asdict(decision)
