"""`mpicctl methods`: what can be asked, under which section of the Baseline Requirements, and until when."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from appliance.cli.context import Json, console, print_json
from appliance.model.check import Method
from appliance.policy.br_table import BR_VERSION
from appliance.policy.methods import RULES, Discouraged, Forbidden, permitted

_Day = Annotated[str | None, typer.Option("--on", metavar="YYYY-MM-DD", help="The day to tell of. (default: today)")]


def methods(on: _Day = None, json: Json = False) -> None:
    """Print every validation method with its BR sections, the identifiers it is for, and the dates that end it."""
    try:
        day = date.fromisoformat(on) if on else datetime.now(UTC).date()
    except ValueError as error:
        raise typer.BadParameter("--on is a date, YYYY-MM-DD") from error
    rows = [_row(method, day) for method in Method]
    if json:
        print_json({"br_version": BR_VERSION, "day": day.isoformat(), "methods": rows})
    else:
        _show(rows, day)


def _row(method: Method, day: date) -> dict[str, Any]:
    rule, ruling = RULES[method], permitted(method, day)
    standing = {Forbidden: "forbidden", Discouraged: "discouraged"}.get(type(ruling), "permitted")
    return {
        "method": method.value,
        "domain_section": rule.domain_section,
        "address_section": rule.address_section,
        "wildcards": rule.wildcards,
        "should_not_from": _text(rule.should_not_from),
        "must_not_from": _text(rule.must_not_from),
        "standing": standing,
    }


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _show(rows: list[dict[str, Any]], day: date) -> None:
    table = Table(
        "method", "domain names", "IP addresses", "wildcards", "SHOULD NOT from", "MUST NOT from", f"on {day}",
        title=f"TLS Baseline Requirements {BR_VERSION}", title_justify="left",
    )  # fmt: skip
    colours = {"permitted": "green", "discouraged": "yellow", "forbidden": "bold red"}
    for row in rows:
        table.add_row(
            row["method"],
            row["domain_section"] or "-",
            row["address_section"] or "-",
            "yes" if row["wildcards"] else "no",
            row["should_not_from"] or "-",
            row["must_not_from"] or "-",
            Text(row["standing"], colours[row["standing"]]),
        )
    console().print(table)
