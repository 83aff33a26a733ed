"""`mpicctl perspectives`: the set of perspectives against BR 3.2.2.9, today and at the next date."""

from __future__ import annotations

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.cli.context import Invocation, Json, console, plain, print_json
from appliance.cli.proof import proof_table, show_notes
from appliance.cli.status import kilometres, place_text
from appliance.model.decision import Row
from appliance.model.status import PerspectiveSetReport, PolicyStatus


def perspectives(context: typer.Context, json: Json = False) -> None:
    """Show the distance of every pair, RIR regions, what is shared, hand-off proofs, and what the BRs ask.

    Exit code 0: the set meets today's rules, and every hand-off proof holds. 1: not so. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    document = invocation.coordinator().get("/perspectives")
    report = msgspec.convert(document, PerspectiveSetReport)
    if json:
        print_json(document)
    else:
        _show(report)
    unproven = any(proofs.withheld is not None for proofs in report.proofs)
    raise typer.Exit(1 if report.policy.today_shortfalls or unproven else 0)


def _show(report: PerspectiveSetReport) -> None:
    out = console()
    out.print(_matrix(report))
    for site in report.sites:
        if site.place.country_override is not None:
            reason = plain(site.place.country_override, 200)
            line = f"{site.code}: not in {site.place.country} by its coordinates; country_override: {reason}"
            out.print(line, style="yellow", markup=False)
    regions = Table("RIR region", "perspectives", title="Regions of the remotes", title_justify="left")
    for region in report.rirs:
        regions.add_row(str(region.rir), ", ".join(region.codes))
    out.print(regions)
    out.print(_shared(report))
    if report.proofs:
        out.print(proof_table(report.proofs))
        show_notes(out, report.proofs)
    _policy(out, report.policy)


def _matrix(report: PerspectiveSetReport) -> Table:
    codes = [site.code for site in report.sites]
    table = Table("", "place", *codes, title="Distance of every pair (WGS-84 geodesic)", title_justify="left")
    pairs = {frozenset((pair.one, pair.other)): pair for pair in report.distances}
    for site in report.sites:
        cells: list[str | Text] = []
        for code in codes:
            pair = pairs.get(frozenset((site.code, code)))
            cells.append(
                "·" if pair is None else Text(kilometres(pair.distance_m), "" if pair.distinct else "bold red")
            )
        table.add_row(f"{site.code} (primary)" if site.primary else site.code, place_text(site.place), *cells)
    return table


def _shared(report: PerspectiveSetReport) -> Table:
    table = Table("kind", "value", "count", "perspectives", "warning", title="What is shared", title_justify="left")
    for share in report.shared:
        if len(share.codes) > 1 or share.warning:
            warning = Text(plain(share.warning), "yellow")
            table.add_row(share.kind, plain(share.value), str(len(share.codes)), ", ".join(share.codes), warning)
    return table


def _policy(out: Console, policy: PolicyStatus) -> None:
    _rule(out, f"today, {policy.date}", policy.today, policy.today_shortfalls)
    if policy.next is None:
        out.print("No later change of the table is known.")
    else:
        _rule(out, f"from {policy.next.since}", policy.next, policy.next_shortfalls)


def _rule(out: Console, when: str, row: Row, shortfalls: tuple[str, ...]) -> None:
    met = Text("met", "green") if not shortfalls else Text("NOT MET", "bold red")
    asks = f"BR 3.2.2.9 {when}: at least {row.remotes_required} remote perspectives, corroborating in"
    out.print(Text.assemble(f"{asks} {row.rir_regions_required} RIR regions, every pair 500 km apart: ", met))
    for line in shortfalls:
        out.print(f"  {plain(line, 300)}", style="red")
