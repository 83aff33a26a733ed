"""The coordinator's answer to one question, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from appliance.cli.client import CannotAsk
from appliance.cli.context import console, plain


def show(answer: Mapping[str, Any]) -> None:
    """What each perspective saw, the verdict, its reasons and its record. Raises `CannotAsk` where a member lacks."""
    out = console()
    table = Table("perspective", "RIR", "corroborates", "saw", "time", "why not")
    try:
        primary = [] if answer["primary"] is None else [answer["primary"]]
        for part in (*primary, *answer["perspectives"]):
            table.add_row(*_row(part, primary=part is answer["primary"]))
        passed, policy = answer["is_valid"] is True, answer["policy"]
        verdict = ("corroborated", "bold green") if passed else ("REFUSED", "bold red")
        line = f" {answer['quorum']}, {policy['required']} needed (BR 3.2.2.9, row of {policy['row']['since']})"
        receipt = f"record {answer['receipt']['seq']}, {answer['receipt']['hash']}"
    except KeyError as error:
        raise CannotAsk(f"mpicd's answer lacks {error}: are mpicctl and mpicd of the same version?") from error
    out.print(table)
    out.print(Text.assemble(verdict, line))
    for reason in answer["reasons"]:
        out.print(f"  {plain(reason, 300)}", style="red")
    for warning in answer["warnings"]:
        out.print(f"  {plain(warning, 300)}", style="yellow")
    out.print(receipt, style="dim")


def _row(part: Mapping[str, Any], *, primary: bool) -> tuple[str | Text, ...]:
    response = part["check_response"]
    passed = response["check_passed"] is True
    code = str(part["perspective_code"])
    return (
        f"{code} (primary)" if primary else code,
        str(part["rir"]),
        Text("yes", "green") if passed else Text("no", "red"),
        Text("\n".join(plain(value, 60) for value in part["seen"][:4])),
        f"{part['elapsed_us'] / 1000:.1f} ms",
        Text("\n".join(plain(error["error_message"], 160) for error in response["errors"] or ())),
    )
