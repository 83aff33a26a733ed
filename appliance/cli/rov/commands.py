"""The commands of `mpicctl rov`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from appliance.cli.client import RequestRefused
from appliance.cli.context import Invocation, Json, console, plain, print_json
from appliance.cli.rov.statement import html_statement, text_statement
from appliance.cli.rov.tables import beacon_table, beacons_table, history_table, round_table, verdict_table
from appliance.model.rov import RovReport, RovStanding, RovVerdict

# A round waits for silence, and for others to witness it.
_ROUND_TIMEOUT_S = 300.0

app = typer.Typer(
    name="rov",
    help="Measure, show and attest whether the perspectives' paths drop RPKI-invalid routes.",
    no_args_is_help=True,
)


class Form(StrEnum):
    """The forms of `rov report`."""

    TEXT = "text"
    HTML = "html"


@app.command("run")
def run(
    context: typer.Context,
    codes: Annotated[list[str] | None, typer.Argument(help="Perspectives; all where none is named.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=200, help="Rounds against every beacon.")] = 10,
    json: Json = False,
) -> None:
    """Measure now: rounds against every beacon, the perspectives in turn.

    Exit code 0: the path of every named remote perspective is FILTERING. 1: it is not. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    mpicd = invocation.coordinator(_ROUND_TIMEOUT_S)
    document = mpicd.get("/rov")
    report = msgspec.convert(document, RovReport)
    chosen = _chosen(report, codes)
    # Progress goes to standard error, so that what is printed at the end can be piped.
    out = Console(stderr=True, highlight=False, markup=False)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out
    )
    task = progress.add_task("rounds", total=rounds * len(chosen))
    with Live(Group(verdict_table(report, chosen), progress), console=out, transient=True, auto_refresh=True) as live:
        for _ in range(rounds):
            for code in chosen:
                progress.update(task, description=f"{code:<8}")
                document = mpicd.post("/rov/measure", {"perspective": code})
                report = msgspec.convert(document, RovReport)
                progress.advance(task)
                live.update(Group(verdict_table(report, chosen), progress))
    if json:
        print_json(document)
    else:
        console().print(verdict_table(report, chosen))
        _problems(report)
    _exit(report, chosen)


@app.command("show")
def show(
    context: typer.Context,
    code: Annotated[str, typer.Argument(help="A perspective.")],
    json: Json = False,
) -> None:
    """Show one perspective: what is in force, what each beacon says, its own route, and the history of its verdicts.

    Exit code 0: its path is FILTERING. 1: it is not. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    document = invocation.coordinator().get("/rov")
    report = msgspec.convert(document, RovReport)
    chosen = _chosen(report, [code])
    standing = next(one for one in report.perspectives if one.perspective in chosen)
    if json:
        print_json(_of(document, code))
    else:
        out = console()
        out.print(verdict_table(report, chosen))
        for family in standing.families:
            out.print(beacon_table(family))
        out.print(round_table(standing))
        out.print(history_table(standing))
        _problems(report)
    raise typer.Exit(0 if standing.verdict is RovVerdict.FILTERING else 1)


@app.command("beacons")
def beacons(context: typer.Context, json: Json = False) -> None:
    """Show what is measured with: each beacon, who runs it, and when it was last seen to work from here.

    A beacon works where some perspective had an authenticated answer of its invalid prefix while the VRPs said that it is
    invalid. To verify the beacons, let a perspective whose path does not filter measure (`mpicctl rov run CODE`) and look again.

    Exit code 0: every beacon was seen to work over each of its IP versions, and none is dead. 1: not so. 2: mpicd could not be
    asked.
    """
    invocation: Invocation = context.obj
    document = invocation.coordinator().get("/rov")
    told = msgspec.convert(document, RovReport)
    if json:
        print_json(document["beacons"])
    else:
        console().print(beacons_table(told))
        _problems(told)
    working = all({seen.version for seen in one.seen} == set(one.versions) and not one.dead for one in told.beacons)
    raise typer.Exit(0 if working else 1)


@app.command("report")
def report(
    context: typer.Context,
    form: Annotated[Form, typer.Option("--format", help="The form of the statement.")] = Form.TEXT,
    json: Json = False,
) -> None:
    """Print a dated statement for auditors on every perspective: verdicts, numbers, method and data.

    Exit code 0: the path of every remote perspective is FILTERING. 1: it is not. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    document = invocation.coordinator().get("/rov")
    told = msgspec.convert(document, RovReport)
    if json:
        print_json(document)
    else:
        sys.stdout.write(html_statement(told) if form is Form.HTML else text_statement(told))
    _exit(told, [one.perspective for one in told.perspectives])


def _chosen(report: RovReport, codes: list[str] | None) -> list[str]:
    known = [one.perspective for one in report.perspectives]
    unknown = [code for code in codes or () if code not in known]
    if unknown:
        raise RequestRefused(
            f"no such perspective: {', '.join(map(plain, unknown))}", [f"there are {', '.join(known)}"]
        )
    return list(dict.fromkeys(codes)) if codes else known


def _of(document: dict[str, Any], code: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["perspectives"] if one["perspective"] == code)
    return found


def _problems(report: RovReport) -> None:
    out = console()
    if report.vrps.problem:
        out.print(f"VRPs: {plain(report.vrps.problem)}; without them no round counts", style="yellow")
    for one in report.beacons:
        for version in one.dead:
            out.print(
                f"beacon {one.name} over IPv{version}: no perspective reaches it; dead, not filtered", style="yellow"
            )


def _exit(report: RovReport, chosen: list[str]) -> None:
    remotes: list[RovStanding] = [one for one in report.perspectives if one.perspective in chosen and not one.primary]
    raise typer.Exit(0 if all(one.verdict is RovVerdict.FILTERING for one in remotes) else 1)
