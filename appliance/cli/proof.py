"""`mpicctl proof`: every hand-off proof of one perspective, with what it rests on."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.cli.client import CannotAsk
from appliance.cli.context import Invocation, Json, console, plain, print_json
from appliance.model.proof import PerspectiveProofs, Result
from appliance.model.status import PerspectiveSetReport

_STYLE = {
    Result.VALID: "green",
    Result.FAILED: "bold red",
    Result.MISSING: "yellow",
    Result.NOT_CONFIGURED: "dim",
    Result.EXPIRED: "yellow",
}


def proof(
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The perspective's code, or the primary's.")],
    json: Json = False,
) -> None:
    """Show how the perspective CODE proves where it is: each proof, its date, and all that it rests on.

    Exit code 0: it corroborates. 1: a proof stands against it. 2: mpicd could not be asked, or knows no such perspective.
    """
    invocation: Invocation = context.obj
    report = msgspec.convert(invocation.coordinator().get("/perspectives"), PerspectiveSetReport)
    found = next((one for one in report.proofs if one.code == code), None)
    if found is None:
        known = ", ".join(one.code for one in report.proofs)
        raise CannotAsk(f"no proofs of {code!r}; there are those of {known}")
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        _show(console(), found, report)
    raise typer.Exit(0 if found.withheld is None else 1)


def proof_table(proofs: tuple[PerspectiveProofs, ...]) -> Table:
    """A row for each perspective, a column for each proof."""
    kinds = [proof.kind for proof in proofs[0].proofs] if proofs else []
    table = Table("", *map(str, kinds), "why not", title="Hand-off proofs", title_justify="left")
    for one in proofs:
        results = [Text(str(proof.result), _STYLE[proof.result]) for proof in one.proofs]
        table.add_row(one.code, *results, Text(plain(one.withheld or "", 300), "red"))
    return table


def show_notes(out: Console, proofs: tuple[PerspectiveProofs, ...]) -> None:
    """What differs and is no fault, a line each."""
    for one in proofs:
        for proof in one.proofs:
            for note in proof.notes:
                out.print(f"note on {one.code}: {plain(note, 300)}", style="yellow")


def _show(out: Console, proofs: PerspectiveProofs, report: PerspectiveSetReport) -> None:
    verdict = Text("corroborates", "green") if proofs.withheld is None else Text("does NOT corroborate", "bold red")
    record = "not recorded yet" if proofs.seq is None else f"record {proofs.seq}, {proofs.hash}"
    out.print(Text.assemble(f"{proofs.code}: ", verdict, f" since {proofs.since}; {record}"))
    for one in proofs.proofs:
        dated = f"seen {one.at or 'never'}, so since {one.since}"
        out.print(Text.assemble(f"{one.kind}: ", (str(one.result), _STYLE[one.result]), f"  ({dated})"))
        out.print(f"  {plain(one.text, 300)}")
        for note in one.notes:
            out.print(f"  note: {plain(note, 300)}", style="yellow")
        for name, value in one.facts:
            out.print(f"    {plain(name)}: {plain(value, 200)}", style="dim")
    for pair in report.distances:
        if proofs.code in {pair.one, pair.other}:
            other = pair.other if pair.one == proofs.code else pair.one
            out.print(f"500 km from {other}: {pair.measured} ({pair.distance_m // 1000} km by the configured places)")
